#!/bin/sh
# An S3-protocol store with one identity, taken from the environment.
set -eu
cat > /tmp/s3.json <<JSON
{"identities": [{"name": "flywheel",
  "credentials": [{"accessKey": "$S3_ACCESS_KEY", "secretKey": "$S3_SECRET_KEY"}],
  "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
JSON
weed server -dir=/data -s3 -s3.config=/tmp/s3.json -volume.max=64 &
server=$!
trap 'kill "$server"' TERM INT
until echo "s3.bucket.list" | weed shell 2>/dev/null | grep -q "^  flywheel"; do
  echo "s3.bucket.create -name flywheel" | weed shell >/dev/null 2>&1 || true
  sleep 1
done
wait "$server"
