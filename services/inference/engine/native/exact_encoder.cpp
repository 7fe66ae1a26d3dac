// As encoder.cpp, in float32 throughout and on the model's own weights: for texts where bfloat16 does not decide.
#include <algorithm>
#include <cmath>
#include <limits>
#include <new>

#include "encoder_ends.h"
#include "memory.h"
#include "vectors.h"

namespace flywheel {
namespace {

constexpr int kOutputs = 4, kHeight = 6;  // 24 accumulators of the 32 registers

// The sums of four vectors.
inline __m128 sums(__m512 a, __m512 b, __m512 c, __m512 d) {
    const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const __m512d low = _mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
    const __m512d high = _mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
    const __m512 all = _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high));
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

template <int Height>
void tile(const Plain& plain, int output, const float* rows, float* out) {
    const std::size_t inputs = plain.inputs;
    const float* weight = plain.weight + output * inputs;
    __m512 sum[Height][kOutputs];
#pragma GCC unroll 6
    for (int row = 0; row < Height; ++row)
        for (int one = 0; one < kOutputs; ++one) sum[row][one] = _mm512_setzero_ps();
    for (std::size_t at = 0; at < inputs; at += 16) {
        __m512 columns[kOutputs];
#pragma GCC unroll 4
        for (int one = 0; one < kOutputs; ++one) columns[one] = _mm512_loadu_ps(weight + one * inputs + at);
#pragma GCC unroll 6
        for (int row = 0; row < Height; ++row) {
            const __m512 value = _mm512_loadu_ps(rows + row * inputs + at);
#pragma GCC unroll 4
            for (int one = 0; one < kOutputs; ++one) sum[row][one] = _mm512_fmadd_ps(value, columns[one], sum[row][one]);
        }
    }
#pragma GCC unroll 6
    for (int row = 0; row < Height; ++row)
        _mm_storeu_ps(out + static_cast<std::size_t>(row) * plain.outputs + output,
                      _mm_add_ps(sums(sum[row][0], sum[row][1], sum[row][2], sum[row][3]),
                                 _mm_loadu_ps(plain.bias + output)));
}

// out (count, outputs) = rows (count, inputs) W^T + bias; inputs a multiple of 16, outputs of 4.
void multiply(const Plain& plain, const float* rows, int count, float* out) {
    static constexpr decltype(&tile<1>) tiles[] = {tile<1>, tile<2>, tile<3>, tile<4>, tile<5>, tile<6>};
    const Rows blocks(count, kHeight);
    for (int output = 0; output < plain.outputs; output += kOutputs)
        for (int block = 0; block < blocks.blocks; ++block) {
            const std::size_t first = blocks.start(block);
            tiles[blocks.height(block) - 1](plain, output, rows + first * plain.inputs, out + first * plain.outputs);
        }
}

// x / 2 (1 + erf(x / sqrt 2)), erf within 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26).
inline __m512 gelu(__m512 x) {
    const __m512 one = _mm512_set1_ps(1);
    const __m512 z = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(0.70710678f));
    const __m512 t = _mm512_div_ps(one, _mm512_fmadd_ps(z, _mm512_set1_ps(0.3275911f), one));
    __m512 y = _mm512_set1_ps(1.061405429f);
    for (const float term : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f})
        y = _mm512_fmadd_ps(y, t, _mm512_set1_ps(term));
    const __m512 bell = exponential(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(z, z)));
    const __m512 erf = _mm512_fnmadd_ps(_mm512_mul_ps(y, t), bell, one);
    const __m512 half = _mm512_mul_ps(x, _mm512_set1_ps(0.5f));
    return _mm512_fmadd_ps(_mm512_abs_ps(half), erf, half);
}

struct Scratch {
    Buffer<float> hidden, query, key, value, attended, active, weights;
};

class Pass {
public:
    Pass(const Encoder& model, const Texts& texts, Scratch& scratch)
        : model_(model), texts_(texts), scratch_(scratch), width_(model.width), tokens_(texts.starts[texts.count]) {
        const std::size_t size = static_cast<std::size_t>(tokens_) * width_;
        for (auto* buffer : {&scratch.hidden, &scratch.query, &scratch.key, &scratch.value, &scratch.attended})
            buffer->reserve(size);
        scratch.active.reserve(static_cast<std::size_t>(tokens_) * model.mlp);
        scratch.weights.reserve(longest(texts) + 16);
    }

    void run() {
        embed(model_, texts_, hidden(0), nullptr);
        for (int index = 0; index < model_.count; ++index) {
            const EncoderLayer& layer = model_.layers[index];
            const bool last = texts_.first_only && index + 1 == model_.count;
            multiply(layer.key, hidden(0), tokens_, scratch_.key.get());
            multiply(layer.value, hidden(0), tokens_, scratch_.value.get());
            if (last)
                for (int text = 0; text < texts_.count; ++text)
                    std::copy_n(hidden(texts_.starts[text]), width_, hidden(text));
            const int count = last ? texts_.count : tokens_;
            multiply(layer.query, hidden(0), count, scratch_.query.get());
            attend(last);
            finish(layer, count);
        }
        judge(model_, texts_, hidden(0));
    }

private:
    float* hidden(std::size_t row) const { return scratch_.hidden.get() + row * width_; }

    void attend(bool last) {
        const int size = width_ / model_.heads;
        for (int text = 0; text < texts_.count; ++text) {
            const int start = texts_.starts[text], end = texts_.starts[text + 1];
            for (int row = last ? text : start; row < (last ? text + 1 : end); ++row)
                for (int head = 0; head < width_; head += size) attend(row, start, end - start, head, size);
        }
    }

    void attend(std::size_t row, std::size_t start, int count, int head, int size) {
        const float* query = scratch_.query.get() + row * width_ + head;
        const float* key = scratch_.key.get() + start * width_ + head;
        const float* value = scratch_.value.get() + start * width_ + head;
        float* weights = scratch_.weights.get();
        const float scale = 1.0f / std::sqrt(static_cast<float>(size));
        float largest = -std::numeric_limits<float>::infinity(), total = 0;
        for (int at = 0; at < count; ++at, key += width_)
            largest = std::max(largest, weights[at] = scale * dot(query, key, size));
        for (int at = 0; at < count; at += 16)
            _mm512_storeu_ps(weights + at, exponential(_mm512_sub_ps(_mm512_loadu_ps(weights + at), _mm512_set1_ps(largest))));
        for (int at = 0; at < count; ++at) total += weights[at];
        float* out = scratch_.attended.get() + row * width_ + head;
        for (int part = 0; part < size; part += 16) {
            __m512 sum = _mm512_setzero_ps();
            for (int at = 0; at < count; ++at)
                sum = _mm512_fmadd_ps(_mm512_set1_ps(weights[at]), _mm512_loadu_ps(value + at * width_ + part), sum);
            _mm512_storeu_ps(out + part, _mm512_div_ps(sum, _mm512_set1_ps(total)));
        }
    }

    void finish(const EncoderLayer& layer, int count) {
        const std::size_t size = static_cast<std::size_t>(count) * width_;
        const auto add = [&](const Plain& plain, const float* rows, const Norm& norm) {
            float* sum = scratch_.query.get();
            multiply(plain, rows, count, sum);
            for (std::size_t at = 0; at < size; at += 16)
                _mm512_storeu_ps(hidden(0) + at, _mm512_add_ps(_mm512_loadu_ps(hidden(0) + at), _mm512_loadu_ps(sum + at)));
            for (int row = 0; row < count; ++row) normalise(hidden(row), norm, width_, model_.epsilon, nullptr);
        };
        add(layer.plain_out, scratch_.attended.get(), layer.attention_norm);
        float* active = scratch_.active.get();
        multiply(layer.plain_up, hidden(0), count, active);
        for (std::size_t at = 0; at < static_cast<std::size_t>(count) * model_.mlp; at += 16)
            _mm512_storeu_ps(active + at, gelu(_mm512_loadu_ps(active + at)));
        add(layer.plain_down, active, layer.norm);
    }

    const Encoder& model_;
    const Texts& texts_;
    Scratch& scratch_;
    const int width_, tokens_;
};

}  // namespace
}  // namespace flywheel

extern "C" {

// 0, or 1 when there is no memory. Any number of threads at once.
int flywheel_encode_exactly(const flywheel::Encoder* model, const flywheel::Texts* texts) {
    static thread_local flywheel::Scratch scratch;
    try {
        flywheel::Pass(*model, *texts, scratch).run();
    } catch (const std::bad_alloc&) {
        return 1;
    }
    return 0;
}
}
