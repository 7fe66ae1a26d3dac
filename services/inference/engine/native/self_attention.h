// Every token of a text attends to every other; texts know nothing of each other, so there is no padding.
#pragma once
#include "dense.h"
#include "memory.h"

namespace flywheel {

// Rows of one head, `stride` elements apart.
struct HeadRows {
    const bfloat16* at;
    std::ptrdiff_t stride;
    int count;
};

class SelfAttention {
public:
    // For heads of `size` (a multiple of 16) and texts of up to `longest` tokens. Throws std::bad_alloc.
    void prepare(int size, int longest);

    // out (query.count, size; rows `out_stride` apart) = softmax(query keys^T / sqrt(size)) values.
    void attend(HeadRows query, HeadRows keys, HeadRows values, bfloat16* out, std::ptrdiff_t out_stride);

private:
    void pack_keys(HeadRows keys);
    void pack_values(HeadRows values);
    float soften(int row, int count);

    int size_ = 0, padded_ = 0;
    float scale_ = 0;
    Buffer<std::uint32_t> keys_, values_;  // panels: [size / 2][32 keys] and [keys / 2][32 outputs], in pairs
    Buffer<float> scores_;
    Buffer<bfloat16> weights_;
};

}  // namespace flywheel
