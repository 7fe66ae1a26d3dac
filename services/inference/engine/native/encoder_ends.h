// What comes before an encoder's layers, between them and after them, in float32 whatever the products are in.
#pragma once
#include <immintrin.h>

#include "dense.h"
#include "encoder.h"

namespace flywheel {

inline void store_pairs(bfloat16* out, __m512 low, __m512 high) {
    _mm512_storeu_si512(out, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

// Of vectors of 16.
float dot(const float* left, const float* right, int count);

// Tokens of the longest text.
int longest(const Texts& texts);

// LayerNorm (Ba et al. 2016) of a row in place; also in bfloat16 where `narrow` is not null.
void normalise(float* row, const Norm& norm, int width, float epsilon, bfloat16* narrow);

// Normalised embeddings of all tokens: hidden (tokens, width), and in bfloat16 where `narrow` is not null.
void embed(const Encoder& model, const Texts& texts, float* hidden, bfloat16* narrow);

// Writes what is wanted of the last hidden states: of all tokens, or with `first_only` of the first ones alone.
// Throws std::bad_alloc.
void judge(const Encoder& model, const Texts& texts, const float* hidden);

}  // namespace flywheel
