#include "self_attention.h"

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "vectors.h"

namespace flywheel {
namespace {

int panels_of(int count) { return (count + kPanel - 1) / kPanel; }

__mmask16 below(int count) { return static_cast<__mmask16>((1u << std::clamp(count, 0, 16)) - 1); }

}  // namespace

void SelfAttention::prepare(int size, int longest) {
    size_ = size;
    scale_ = 1.0f / std::sqrt(static_cast<float>(size));
    padded_ = panels_of(longest) * kPanel;
    keys_.reserve(static_cast<std::size_t>(padded_) * (size / 2));
    values_.reserve(static_cast<std::size_t>(panels_of(size)) * kPanel * (padded_ / 2));
    scores_.reserve(static_cast<std::size_t>(kRows) * padded_);
    weights_.reserve(static_cast<std::size_t>(kRows) * padded_);
}

void SelfAttention::attend(HeadRows query, HeadRows keys, HeadRows values, bfloat16* out, std::ptrdiff_t out_stride) {
    pack_keys(keys);
    pack_values(values);
    const Rows blocks(query.count, kRows);
    const int steps = (keys.count + 1) / 2;
    alignas(64) float tile[kRows * kPanel], inverse[kRows];
    for (int block = 0; block < blocks.blocks; ++block) {
        const int first = blocks.start(block), height = blocks.height(block);
        for (int panel = 0; panel < panels_of(keys.count); ++panel)
            multiply_rows(height, query.at + first * query.stride, query.stride * sizeof(bfloat16),
                          keys_.get() + static_cast<std::size_t>(panel) * (size_ / 2) * kPanel, size_ / 2,
                          scores_.get() + panel * kPanel, padded_);
        for (int row = 0; row < height; ++row) inverse[row] = 1.0f / soften(row, keys.count);
        for (int part = 0; part < size_; part += kPanel) {
            multiply_rows(height, weights_.get(), padded_ * sizeof(bfloat16),
                          values_.get() + static_cast<std::size_t>(part / 2) * padded_, steps, tile, kPanel);
            for (int row = 0; row < height; ++row)
                for (int half = 0; half < std::min(kPanel, size_ - part); half += 16) {
                    const __m512 sum = _mm512_load_ps(tile + row * kPanel + half);
                    _mm256_storeu_si256(
                        reinterpret_cast<__m256i*>(out + (first + row) * out_stride + part + half),
                        to_pairs(_mm512_mul_ps(sum, _mm512_set1_ps(inverse[row]))));
                }
        }
    }
}

// Columns beyond the last key keep what was there: their scores are never looked at.
void SelfAttention::pack_keys(HeadRows keys) {
    for (int key = 0; key < keys.count; ++key) {
        std::uint32_t* target = keys_.get() + static_cast<std::size_t>(key / kPanel) * (size_ / 2) * kPanel + key % kPanel;
        const bfloat16* source = keys.at + key * keys.stride;
        for (int step = 0; step < size_ / 2; ++step, source += 2, target += kPanel) std::memcpy(target, source, 4);
    }
}

void SelfAttention::pack_values(HeadRows values) {
    alignas(64) static constexpr auto order = [] {
        struct {
            std::uint16_t at[2][32];
        } made{};
        for (int lane = 0; lane < 64; ++lane) made.at[lane / 32][lane % 32] = lane / 2 + lane % 2 * 32;
        return made;
    }();
    const __m512i low = _mm512_load_si512(order.at[0]), high = _mm512_load_si512(order.at[1]);
    for (int part = 0; part < size_; part += kPanel) {
        const auto there = static_cast<__mmask32>((std::uint64_t{1} << std::min(kPanel, size_ - part)) - 1);
        std::uint32_t* target = values_.get() + static_cast<std::size_t>(part / 2) * padded_;
        for (int at = 0; at < values.count; at += 2, target += kPanel) {
            const bfloat16* source = values.at + at * values.stride + part;
            const __m512i first = _mm512_maskz_loadu_epi16(there, source);
            const __m512i second = at + 1 < values.count ? _mm512_maskz_loadu_epi16(there, source + values.stride)
                                                         : _mm512_setzero_si512();
            _mm512_storeu_si512(target, _mm512_permutex2var_epi16(first, low, second));
            _mm512_storeu_si512(target + 16, _mm512_permutex2var_epi16(first, high, second));
        }
    }
}

// Scores of a row become weights in bfloat16, not divided by their sum; returns the sum.
float SelfAttention::soften(int row, int count) {
    const float* scores = scores_.get() + static_cast<std::size_t>(row) * padded_;
    bfloat16* weights = weights_.get() + static_cast<std::size_t>(row) * padded_;
    const __m512 none = _mm512_set1_ps(-std::numeric_limits<float>::infinity()), scale = _mm512_set1_ps(scale_);
    __m512 top = none, sum = _mm512_setzero_ps();
    for (int at = 0; at < count; at += 16)
        top = _mm512_max_ps(top, _mm512_mask_loadu_ps(none, below(count - at), scores + at));
    const __m512 largest = _mm512_mul_ps(_mm512_set1_ps(_mm512_reduce_max_ps(top)), scale);
    for (int at = 0; at < count; at += 16) {
        const __m512 score = _mm512_fmsub_ps(_mm512_loadu_ps(scores + at), scale, largest);
        const __m512 weight = _mm512_maskz_mov_ps(below(count - at), exponential(score));
        sum = _mm512_add_ps(sum, weight);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(weights + at), to_pairs(weight));
    }
    return _mm512_reduce_add_ps(sum);
}

}  // namespace flywheel
