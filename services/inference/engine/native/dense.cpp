#include "dense.h"

#include <immintrin.h>

#include <cstring>
#include <utility>

namespace flywheel {
namespace {

// Two pointers and three distances reach all 14 rows by x86's scaled addressing: a pointer each would not fit the
// registers.
template <int Row>
const char* row_at(const char* low, const char* high, std::ptrdiff_t stride) {
    constexpr int at = Row % 7;
    const char* base = Row < 7 ? low : high;
    if constexpr (at == 3 || at == 6) return base + 3 * stride * (at / 3);
    return base + at * stride;
}

template <int Height, int... Row>
void tile_rows(const char* low, std::ptrdiff_t stride, const char* panel, int steps, float* out, int width,
               std::integer_sequence<int, Row...>) {
    __m512 left[Height], right[Height];
    ((left[Row] = right[Row] = _mm512_setzero_ps()), ...);
    const char* high = low + 7 * stride;
    for (int step = 0; step < steps; ++step, panel += 128, low += 4, high += 4) {
        const auto first = (__m512bh)_mm512_loadu_si512(panel);
        const auto second = (__m512bh)_mm512_loadu_si512(panel + 64);
        const auto add = [&](__m512& one, __m512& other, const char* row) {
            int pair;
            std::memcpy(&pair, row, sizeof(pair));
            const auto both = (__m512bh)_mm512_set1_epi32(pair);
            one = _mm512_dpbf16_ps(one, first, both);
            other = _mm512_dpbf16_ps(other, second, both);
        };
        (add(left[Row], right[Row], row_at<Row>(low, high, stride)), ...);
    }
    ((_mm512_storeu_ps(out + Row * width, left[Row]), _mm512_storeu_ps(out + Row * width + 16, right[Row])), ...);
}

template <int Height>
void tile_rows(const bfloat16* rows, std::ptrdiff_t stride, const void* panel, int steps, float* out, int width) {
    tile_rows<Height>(reinterpret_cast<const char*>(rows), stride, static_cast<const char*>(panel), steps, out, width,
                      std::make_integer_sequence<int, Height>{});
}

using Tile = void (*)(const bfloat16*, std::ptrdiff_t, const void*, int, float*, int);

template <int... Heights>
constexpr auto table_of(std::integer_sequence<int, Heights...>) {
    struct {
        Tile at[sizeof...(Heights)];
    } table{{tile_rows<Heights + 1>...}};
    return table;
}

}  // namespace

void multiply_rows(int height, const bfloat16* rows, std::ptrdiff_t stride, const void* panel, int steps, float* out,
                   int width) {
    static constexpr auto table = table_of(std::make_integer_sequence<int, kRows>{});
    table.at[height - 1](rows, stride, panel, steps, out, width);
}

}  // namespace flywheel
