// Small vector functions: sums, the exponential, bfloat16 pairs.
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace flywheel {

// e^x for 16 floats, relative error below 2e-7: 2^n times a polynomial of degree 6 on [-ln2 / 2, ln2 / 2].
inline __m512 exponential(__m512 x) {
    x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-104.0f)), _mm512_set1_ps(88.7f));
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
    __m512 y = _mm512_set1_ps(1.0f / 720);
    for (const float term : {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f})
        y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(term));
    return _mm512_scalef_ps(y, n);
}

// x / (1 + e^-x)
inline __m512 silu(__m512 x) {
    const __m512 denominator = _mm512_add_ps(_mm512_set1_ps(1), exponential(_mm512_sub_ps(_mm512_setzero_ps(), x)));
    return _mm512_div_ps(x, denominator);
}

// 16 floats as 8 words of two bfloat16 (round to nearest even).
inline __m256i to_pairs(__m512 x) { return (__m256i)_mm512_cvtneps_pbh(x); }

// Words written `stride` apart.
inline void scatter(__m256i words, std::uint32_t* out, int stride) {
    alignas(32) std::uint32_t lanes[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), words);
    for (int lane = 0; lane < 8; ++lane) out[lane * stride] = lanes[lane];
}

inline float mean_square(const float* row, int count) {
    __m512 sum = _mm512_setzero_ps();
    for (int at = 0; at < count; at += 16) {
        const __m512 part = _mm512_loadu_ps(row + at);
        sum = _mm512_fmadd_ps(part, part, sum);
    }
    return _mm512_reduce_add_ps(sum) / static_cast<float>(count);
}

}  // namespace flywheel
