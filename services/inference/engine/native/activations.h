// Rows of floats become the left side of a product: normalised, rounded, packed in blocks.
#pragma once
#include <cstdint>

#include "kernels.h"
#include "memory.h"
#include "threads.h"

namespace flywheel {

// A block of bfloat16 rows is [inputs / 2][row]. For int8 weights a row is quantised to 16 bits by its largest value
// and split into two rows of bytes: high + 128, and low; a block is [inputs / 4][row][high, low].
struct Packed {
    Buffer<std::uint32_t> pairs, bytes;
    Buffer<float> scale;  // of a row's 16-bit integers
};

struct Packing {
    const float* rows;    // (count, inputs)
    const float* weight;  // of the RMSNorm before the product, or null
    const std::int32_t* only = nullptr;  // the rows to take, or null: all
    float epsilon;
    int inputs;
    bool pairs, bytes;
};

void reserve(Packed& packed, int count, const Packing& what);

// Packs the rows of `range`.
void pack(const Packing& what, const Rows& rows, Range range, Packed& out);

}  // namespace flywheel
