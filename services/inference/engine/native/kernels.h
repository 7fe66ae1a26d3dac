// Products of a block of rows with one panel of 32 outputs: the only code that multiplies matrices.
#pragma once
#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "model.h"

namespace flywheel {

constexpr int kRows = 14;  // 28 accumulators of the 32 registers

// Rows in blocks of nearly equal height.
struct Rows {
    int count, blocks;

    Rows(int rows, int limit) : count(rows), blocks((rows + limit - 1) / limit) {}
    int start(int block) const {
        const int extra = count % blocks;
        return block * (count / blocks) + (block < extra ? block : extra);
    }
    int height(int block) const { return count / blocks + (block < count % blocks); }
    int block_of(int row) const {
        const int base = count / blocks, extra = count % blocks, tall = extra * (base + 1);
        return row < tall ? row / (base + 1) : extra + (row - tall) / base;
    }
};

constexpr int kGroup = 16;  // steps of the inner dimension whose words lie together: a cache line a row

// Words of a row of so many steps, whole groups.
inline int whole_groups(int steps) { return (steps + kGroup - 1) / kGroup * kGroup; }

// Packed rows: [group of 16 steps][row][step] in 32-bit words. A product begins at step `from`, and may take the first
// of the `rows` only.
struct Block {
    std::uint32_t* words;
    int rows, from = 0;

    std::uint32_t* at(int step) const {
        return words + static_cast<std::size_t>(step / kGroup) * rows * kGroup + step % kGroup;
    }
};

// Weights that will be wanted next, read ahead while a block is computed: `lines` cache lines a step of the loop.
struct Ahead {
    const char* at;
    int lines;
};

template <int Height, int Lines>
inline void tile_bfloat16(Block block, const char* panel, int steps, float* out, int width, bool accumulate,
                          const char* ahead) {
    __m512 sum[Height][2];
#pragma GCC unroll 16
    for (int row = 0; row < Height; ++row) {
        sum[row][0] = accumulate ? _mm512_loadu_ps(out + row * width) : _mm512_setzero_ps();
        sum[row][1] = accumulate ? _mm512_loadu_ps(out + row * width + 16) : _mm512_setzero_ps();
    }
    for (int step = block.from, end = block.from + steps; step < end;) {
        const std::uint32_t* word = block.at(step);
        for (const int stop = std::min(end, (step / kGroup + 1) * kGroup); step < stop; ++step, ++word, panel += 128) {
            if constexpr (Lines > 0) {
                for (int line = 0; line < Lines; ++line) _mm_prefetch(ahead + line * 64, _MM_HINT_T1);
                ahead += Lines * 64;
            }
            const auto first = (__m512bh)_mm512_loadu_si512(panel);
            const auto second = (__m512bh)_mm512_loadu_si512(panel + 64);
#pragma GCC unroll 16
            for (int row = 0; row < Height; ++row) {
                const auto pair = (__m512bh)_mm512_set1_epi32(static_cast<int>(word[row * kGroup]));
                sum[row][0] = _mm512_dpbf16_ps(sum[row][0], first, pair);
                sum[row][1] = _mm512_dpbf16_ps(sum[row][1], second, pair);
            }
        }
    }
#pragma GCC unroll 16
    for (int row = 0; row < Height; ++row) {
        _mm512_storeu_ps(out + row * width, sum[row][0]);
        _mm512_storeu_ps(out + row * width + 16, sum[row][1]);
    }
}

// Rows hold unsigned bytes, the panel signed ones; sums are int32 (width 32).
template <int Height, int Lines>
inline void tile_int8(Block block, const char* panel, int steps, std::int32_t* out, const char* ahead) {
    __m512i sum[Height][2];
#pragma GCC unroll 16
    for (int row = 0; row < Height; ++row) sum[row][0] = sum[row][1] = _mm512_setzero_si512();
    for (int step = 0; step < steps;) {
        const std::uint32_t* word = block.at(step);
        for (const int stop = std::min(steps, step + kGroup); step < stop; ++step, ++word, panel += 128) {
            if constexpr (Lines > 0) {
                for (int line = 0; line < Lines; ++line) _mm_prefetch(ahead + line * 64, _MM_HINT_T1);
                ahead += Lines * 64;
            }
            const __m512i first = _mm512_loadu_si512(panel), second = _mm512_loadu_si512(panel + 64);
#pragma GCC unroll 16
            for (int row = 0; row < Height; ++row) {
                const __m512i four = _mm512_set1_epi32(static_cast<int>(word[row * kGroup]));
                sum[row][0] = _mm512_dpbusd_epi32(sum[row][0], four, first);
                sum[row][1] = _mm512_dpbusd_epi32(sum[row][1], four, second);
            }
        }
    }
#pragma GCC unroll 16
    for (int row = 0; row < Height; ++row) {
        _mm512_storeu_si512(out + row * 32, sum[row][0]);
        _mm512_storeu_si512(out + row * 32 + 16, sum[row][1]);
    }
}

// out (height, 32; rows `width` apart) = or += rows (height, 2 * steps) of the block times the panel. Height: 1 to kRows.
void multiply_bfloat16(int height, Block block, const char* panel, int steps, float* out, int width, bool accumulate,
                       Ahead ahead);

// out (height, 32) = rows (height, 4 * steps) times the panel. Height: even, 2 to kRows; the block begins at step 0.
void multiply_int8(int height, Block block, const char* panel, int steps, std::int32_t* out, Ahead ahead);

}  // namespace flywheel
