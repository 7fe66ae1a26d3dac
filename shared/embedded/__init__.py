"""The platform on one machine: an embedded Valkey and the five services as child processes.

Everything lies under one folder, `home`:
    run/    platform.json (who runs, where), platform.lock, broker.url and valkey.conf (mode 0600)
    logs/   one rotated file a process
    valkey/ the queue's append-only file
"""
