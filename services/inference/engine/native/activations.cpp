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

void pack_pairs(const Source& source, int inputs, std::uint32_t* out, int stride) {
    for (int at = 0; at < inputs; at += 16, out += 8 * stride) scatter<8>(to_pairs(source.at(at)), out, stride);
}

float pack_bytes(const Source& source, int inputs, std::uint32_t* out, int stride) {
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
    for (int at = 0; at < inputs; at += 16, out += 4 * stride) {
        const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(source.at(at), inverse));
        const __m512i high = _mm512_add_epi32(_mm512_srai_epi32(whole, 8), _mm512_set1_epi32(128));
        scatter<4>(_mm512_cvtepi32_epi8(high), out, stride);
        scatter<4>(_mm512_cvtepi32_epi8(whole), out + 1, stride);
    }
    return scale;
}

}  // namespace

void reserve(Packed& packed, int count, const Packing& what) {
    if (what.pairs) packed.pairs.reserve(static_cast<std::size_t>(count) * what.inputs / 2);
    if (what.bytes) {
        packed.bytes.reserve(static_cast<std::size_t>(count) * what.inputs / 2);
        packed.scale.reserve(count);
    }
}

void pack(const Packing& what, const Rows& rows, Range range, Packed& out) {
    for (int index = range.begin; index < range.end; ++index) {
        const int from = what.only == nullptr ? index : what.only[index];
        Source source{what.rows + static_cast<std::size_t>(from) * what.inputs, what.weight, _mm512_set1_ps(1)};
        if (what.weight != nullptr)
            source.factor = _mm512_set1_ps(1.0f / std::sqrt(mean_square(source.row, what.inputs) + what.epsilon));
        const int block = rows.block_of(index), height = rows.height(block), first = rows.start(block);
        const std::size_t block_at = static_cast<std::size_t>(first) * (what.inputs / 2);
        if (what.pairs) pack_pairs(source, what.inputs, out.pairs.get() + block_at + (index - first), height);
        if (what.bytes)
            out.scale.get()[index] =
                pack_bytes(source, what.inputs, out.bytes.get() + block_at + 2 * (index - first), 2 * height);
    }
}

}  // namespace flywheel
