#include "activations.h"

#include <cmath>

#include "vectors.h"

namespace flywheel {
namespace {

struct Source {
    const float* row;
    const float* weight;
    __m512 factor;

    __m512 at(int index) const {
        const __m512 value = _mm512_loadu_ps(row + index);
        if (weight == nullptr) return value;
        return _mm512_mul_ps(_mm512_mul_ps(value, factor), _mm512_loadu_ps(weight + index));
    }
};

float pack_bytes(const Source& source, int inputs, const Block& block, int row) {
    __m512 largest = _mm512_setzero_ps();
    __mmask16 broken = 0;
    for (int at = 0; at < inputs; at += 16) {
        const __m512 value = source.at(at);
        broken |= _mm512_fpclass_ps_mask(value, 0x99);  // NaN or infinite: no integer says that, so the scale does
        largest = _mm512_max_ps(largest, _mm512_abs_ps(value));
    }
    if (broken) return std::nanf("");
    const float scale = std::fmax(_mm512_reduce_max_ps(largest) / 32767.0f, 1e-30f);
    const __m512 inverse = _mm512_set1_ps(1.0f / scale);
    for (int at = 0; at < inputs; at += 16) {
        const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(source.at(at), inverse));
        const __m512i high = _mm512_add_epi32(_mm512_srai_epi32(whole, 8), _mm512_set1_epi32(128));
        auto* out = block.at(at / 4) + 2 * row * kGroup;
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(high));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + kGroup), _mm512_cvtepi32_epi8(whole));
    }
    return scale;
}

}  // namespace

void reserve(Packed& packed, int count, const Packing& what) {
    if (what.pairs) packed.pairs.reserve(static_cast<std::size_t>(count) * whole_groups(what.inputs / 2));
    if (what.bytes) {
        packed.bytes.reserve(static_cast<std::size_t>(count) * 2 * whole_groups(what.inputs / 4));
        packed.scale.reserve(count);
    }
}

void pack(const Packing& what, const Rows& rows, Range range, Packed& out) {
    for (int index = range.begin; index < range.end; ++index) {
        Source source{what.rows + static_cast<std::size_t>(index) * what.inputs, what.weight, _mm512_set1_ps(1)};
        if (what.weight != nullptr)
            source.factor = _mm512_set1_ps(1.0f / std::sqrt(mean_square(source.row, what.inputs) + what.epsilon));
        const int block = rows.block_of(index), height = rows.height(block), first = rows.start(block);
        if (what.pairs) {
            const Block into = out.pairs_from(first, height, what.inputs);
            for (int at = 0; at < what.inputs; at += 16) put_pairs(into, index - first, at, source.at(at));
        }
        if (what.bytes)
            out.scale.get()[index] =
                pack_bytes(source, what.inputs, out.bytes_from(first, height, what.inputs), index - first);
    }
}

}  // namespace flywheel
