// Texts in, hidden states or what the head gives out, with products in bfloat16: one call, computed by the calling
// thread alone.
//
// No thread waits for another at every layer, so a processor that serves someone else for a moment slows nobody:
// callers run as many calls at once as they have processors.
#include <algorithm>
#include <new>

#include "encoder_ends.h"
#include "self_attention.h"

namespace flywheel {
namespace {

// Gelu (Hendrycks and Gimpel 2016) within 1e-4 where |x| < 6, far below the bfloat16 that it is rounded to: the normal
// distribution function as 1/2 + x P(x^2), fitted by linear programming on [0, 4.25] with P's end held.
inline __m512 gelu(__m512 x) {
    const __m512 edge = _mm512_set1_ps(4.25f);
    const __m512 near = _mm512_max_ps(_mm512_min_ps(x, edge), _mm512_sub_ps(_mm512_setzero_ps(), edge));
    const __m512 square = _mm512_mul_ps(near, near);
    __m512 y = _mm512_set1_ps(5.903049042e-11f);
    for (const float term : {-5.566907514e-09f, 2.321383852e-07f, -5.712277260e-06f, 9.386022017e-05f,
                             -1.107442871e-03f, 9.793358285e-03f, -6.625499388e-02f, 3.987800522e-01f})
        y = _mm512_fmadd_ps(y, square, _mm512_set1_ps(term));
    return _mm512_mul_ps(x, _mm512_fmadd_ps(near, y, _mm512_set1_ps(0.5f)));
}

// What a call works on, kept by each thread.
struct Scratch {
    Buffer<float> hidden;
    Buffer<bfloat16> narrow, mixed, attended, active;
    SelfAttention attention;
};

inline __m512 biased(const Linear& linear, int panel, int half, const float* tile) {
    return _mm512_add_ps(_mm512_load_ps(tile + half), _mm512_loadu_ps(linear.bias + panel * kPanel + half));
}

class Pass {
public:
    Pass(const Encoder& model, const Texts& texts, Scratch& scratch)
        : model_(model), texts_(texts), scratch_(scratch), width_(model.width), tokens_(texts.starts[texts.count]) {
        const std::size_t count = tokens_;
        scratch.hidden.reserve(count * width_);
        scratch.narrow.reserve(count * width_);
        scratch.mixed.reserve(count * 3 * width_);
        scratch.attended.reserve(count * width_);
        scratch.active.reserve(count * model.mlp);
        scratch.attention.prepare(width_ / model.heads, longest(texts));
    }

    void run() {
        embed(model_, texts_, hidden(0), narrow(0));
        for (int index = 0; index < model_.count; ++index) {
            const EncoderLayer& layer = model_.layers[index];
            const bool last = texts_.first_only && index + 1 == model_.count;
            mix(layer, last);
            attend(last);
            finish(layer, last ? texts_.count : tokens_);
        }
        judge(model_, texts_, hidden(0));
    }

private:
    int length(int text) const { return texts_.starts[text + 1] - texts_.starts[text]; }
    float* hidden(std::size_t row) const { return scratch_.hidden.get() + row * width_; }
    bfloat16* narrow(std::size_t row) const { return scratch_.narrow.get() + row * width_; }

    // Queries, keys and values side by side; of the last layer's queries only those that are wanted.
    void mix(const EncoderLayer& layer, bool last) {
        const int panels = width_ / kPanel;
        const auto into = [&](int panel, int first, int height, const float* tile) {
            bfloat16* out = scratch_.mixed.get() + static_cast<std::size_t>(first) * 3 * width_ + panel * kPanel;
            for (int row = 0; row < height; ++row, tile += kPanel, out += 3 * width_)
                store_pairs(out, biased(layer.qkv, panel, 0, tile), biased(layer.qkv, panel, 16, tile));
        };
        product(layer.qkv, last ? panels : 0, 3 * panels, narrow(0), tokens_, into);
        if (!last) return;
        for (int text = 0; text < texts_.count; ++text) {  // a first token never lies before its text's number
            std::copy_n(hidden(texts_.starts[text]), width_, hidden(text));
            std::copy_n(narrow(texts_.starts[text]), width_, narrow(text));
        }
        product(layer.qkv, 0, panels, narrow(0), texts_.count, into);
    }

    void attend(bool last) {
        const int size = width_ / model_.heads;
        const std::ptrdiff_t stride = 3 * width_;
        for (int text = 0; text < texts_.count; ++text) {
            const std::size_t start = texts_.starts[text], query = last ? text : start;
            const bfloat16* own = scratch_.mixed.get() + start * stride;
            for (int head = 0; head < model_.heads; ++head) {
                const bfloat16* asking = scratch_.mixed.get() + query * stride + head * size;
                scratch_.attention.attend({asking, stride, last ? 1 : length(text)},
                                          {own + width_ + head * size, stride, length(text)},
                                          {own + 2 * width_ + head * size, stride, length(text)},
                                          scratch_.attended.get() + query * width_ + head * size, width_);
            }
        }
    }

    void finish(const EncoderLayer& layer, int count) {
        const auto add = [&](const Linear& linear, const bfloat16* rows, const Norm& norm) {
            product(linear, 0, linear.panels, rows, count, [&](int panel, int first, int height, const float* tile) {
                float* out = hidden(first) + panel * kPanel;
                for (int row = 0; row < height; ++row, tile += kPanel, out += width_)
                    for (int half = 0; half < kPanel; half += 16)
                        _mm512_storeu_ps(out + half,
                                         _mm512_add_ps(_mm512_loadu_ps(out + half), biased(linear, panel, half, tile)));
            });
            for (int row = 0; row < count; ++row) normalise(hidden(row), norm, width_, model_.epsilon, narrow(row));
        };
        add(layer.out, scratch_.attended.get(), layer.attention_norm);
        product(layer.up, 0, layer.up.panels, narrow(0), count, [&](int panel, int first, int height, const float* tile) {
            bfloat16* out = scratch_.active.get() + static_cast<std::size_t>(first) * model_.mlp + panel * kPanel;
            for (int row = 0; row < height; ++row, tile += kPanel, out += model_.mlp)
                store_pairs(out, gelu(biased(layer.up, panel, 0, tile)), gelu(biased(layer.up, panel, 16, tile)));
        });
        add(layer.down, scratch_.active.get(), layer.norm);
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
int flywheel_encode(const flywheel::Encoder* model, const flywheel::Texts* texts) {
    static thread_local flywheel::Scratch scratch;
    try {
        flywheel::Pass(*model, *texts, scratch).run();
    } catch (const std::bad_alloc&) {
        return 1;
    }
    return 0;
}
}
