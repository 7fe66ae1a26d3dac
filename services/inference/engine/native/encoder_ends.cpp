#include "encoder_ends.h"

#include <algorithm>
#include <cmath>

#include "memory.h"

namespace flywheel {
namespace {

void apply(const Plain& plain, const float* row, float* out) {
    for (int at = 0; at < plain.outputs; ++at)
        out[at] = dot(plain.weight + static_cast<std::size_t>(at) * plain.inputs, row, plain.inputs) + plain.bias[at];
}

float activate(float value, std::int32_t activation) {
    if (activation == kTanh) return std::tanh(value);
    return activation == kRelu ? std::max(value, 0.0f) : value;
}

}  // namespace

float dot(const float* left, const float* right, int count) {
    __m512 sum = _mm512_setzero_ps();
    for (int at = 0; at < count; at += 16)
        sum = _mm512_fmadd_ps(_mm512_loadu_ps(left + at), _mm512_loadu_ps(right + at), sum);
    return _mm512_reduce_add_ps(sum);
}

int longest(const Texts& texts) {
    int most = 0;
    for (int text = 0; text < texts.count; ++text) most = std::max(most, texts.starts[text + 1] - texts.starts[text]);
    return most;
}

void normalise(float* row, const Norm& norm, int width, float epsilon, bfloat16* narrow) {
    __m512 sum = _mm512_setzero_ps(), square = _mm512_setzero_ps();
    for (int at = 0; at < width; at += 16) sum = _mm512_add_ps(sum, _mm512_loadu_ps(row + at));
    const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / static_cast<float>(width));
    for (int at = 0; at < width; at += 16) {
        const __m512 away = _mm512_sub_ps(_mm512_loadu_ps(row + at), mean);
        square = _mm512_fmadd_ps(away, away, square);
    }
    const float variance = _mm512_reduce_add_ps(square) / static_cast<float>(width);
    const __m512 factor = _mm512_set1_ps(1.0f / std::sqrt(variance + epsilon));
    const auto part = [&](int at) {
        const __m512 away = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(row + at), mean), factor);
        return _mm512_fmadd_ps(away, _mm512_loadu_ps(norm.weight + at), _mm512_loadu_ps(norm.bias + at));
    };
    for (int at = 0; at < width; at += 32) {
        const __m512 low = part(at), high = part(at + 16);
        _mm512_storeu_ps(row + at, low);
        _mm512_storeu_ps(row + at + 16, high);
        if (narrow != nullptr) store_pairs(narrow + at, low, high);
    }
}

void embed(const Encoder& model, const Texts& texts, float* hidden, bfloat16* narrow) {
    const std::size_t width = model.width;
    for (int text = 0; text < texts.count; ++text)
        for (int token = texts.starts[text]; token < texts.starts[text + 1]; ++token, hidden += width) {
            const float* word = model.words + texts.ids[token] * width;
            const float* place = model.positions + (token - texts.starts[text] + model.shift) * width;
            const int kind = texts.types == nullptr ? 0 : texts.types[token];
            for (std::size_t at = 0; at < width; at += 16) {
                __m512 sum = _mm512_loadu_ps(word + at);
                if (model.types != nullptr) sum = _mm512_add_ps(sum, _mm512_loadu_ps(model.types + kind * width + at));
                _mm512_storeu_ps(hidden + at, _mm512_add_ps(sum, _mm512_loadu_ps(place + at)));
            }
            normalise(hidden, model.norm, model.width, model.epsilon, narrow == nullptr ? nullptr : narrow + token * width);
        }
}

void judge(const Encoder& model, const Texts& texts, const float* hidden) {
    const int rows = texts.first_only ? texts.count : texts.starts[texts.count];
    float* out = texts.out;
    if (!texts.with_head) {
        std::copy_n(hidden, static_cast<std::size_t>(rows) * model.width, out);
        return;
    }
    const Plain& pooler = model.pooler;
    Buffer<float> pooled;
    if (pooler.weight != nullptr) pooled.reserve(pooler.outputs);
    for (int row = 0; row < rows; ++row, hidden += model.width, out += model.labels.outputs) {
        const float* source = hidden;
        if (pooler.weight != nullptr) {
            apply(pooler, source, pooled.get());
            for (int at = 0; at < pooler.outputs; ++at) pooled.get()[at] = activate(pooled.get()[at], model.activation);
            source = pooled.get();
        }
        apply(model.labels, source, out);
    }
}

}  // namespace flywheel
