// Products of bfloat16 rows as they lie in memory with panels of weights, for activations that fit the cache.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels.h"
#include "model.h"

namespace flywheel {

using bfloat16 = std::uint16_t;

// out (height, 32; rows `width` floats apart) = rows (height, 2 * steps; `stride` bytes apart) times the panel.
// Height: 1 to kRows.
void multiply_rows(int height, const bfloat16* rows, std::ptrdiff_t stride, const void* panel, int steps, float* out,
                   int width);

// Calls done(panel, first row, height, tile (height, 32)) for every block of rows and every panel of [from, to);
// rows (count, inputs).
template <class Done>
void product(const Linear& linear, int from, int to, const bfloat16* rows, int count, Done&& done) {
    alignas(64) float tile[kRows * kPanel];
    const Rows blocks(count, kRows);
    const std::size_t inputs = linear.inputs;
    for (int panel = from; panel < to; ++panel) {
        const auto* weight = static_cast<const bfloat16*>(linear.weight) + inputs * kPanel * panel;
        for (int block = 0; block < blocks.blocks; ++block) {
            const int first = blocks.start(block), height = blocks.height(block);
            multiply_rows(height, rows + first * inputs, inputs * sizeof(bfloat16), weight, linear.inputs / 2, tile,
                          kPanel);
            done(panel, first, height, tile);
        }
    }
}

}  // namespace flywheel
