// Rows of floats become the left side of a product: normalised, rounded, packed in blocks.
#pragma once
#include <cstdint>

#include "kernels.h"
#include "memory.h"
#include "threads.h"
#include "vectors.h"

namespace flywheel {

// Blocks of bfloat16 pairs. For int8 weights a row is quantised to 16 bits by its largest value and split into two
// rows of bytes, one after the other: high + 128, and low.
struct Packed {
    Buffer<std::uint32_t> pairs, bytes;
    Buffer<float> scale;  // of a row's 16-bit integers

    // The block that begins with row `first`, of so many rows.
    Block pairs_from(int first, int rows, int inputs) const {
        return {pairs.get() + static_cast<std::size_t>(first) * whole_groups(inputs / 2), rows};
    }
    Block bytes_from(int first, int rows, int inputs) const {
        return {bytes.get() + static_cast<std::size_t>(first) * 2 * whole_groups(inputs / 4), 2 * rows};
    }
};

// 16 neighbouring outputs of a row as pairs, where the next product reads them.
inline void put_pairs(const Block& block, int row, int output, __m512 values) {
    auto* at = block.at(output / 2) + row * kGroup;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), to_pairs(values));
}

struct Packing {
    const float* rows;    // (count, inputs)
    const float* weight;  // of the RMSNorm before the product, or null
    float epsilon;
    int inputs;
    bool pairs, bytes;
};

void reserve(Packed& packed, int count, const Packing& what);

// Packs the rows of `range`.
void pack(const Packing& what, const Rows& rows, Range range, Packed& out);

}  // namespace flywheel
