// A whole step in one call: tokens in, logits out.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include <omp.h>

#include "attention.h"
#include "linear.h"
#include "vectors.h"

namespace flywheel {
namespace {

constexpr int kPrivate = 5;  // up to so many rows every thread packs all of them itself: cheaper than a barrier

// What a step works on; kept from step to step.
struct Scratch {
    Buffer<float> hidden, mixed, attended, active, partials;
    Buffer<std::int32_t> adapter;
    Packed shared, gated;
    std::unique_ptr<Packed[]> own;
    int threads = 0;
};

void embed(const Model& model, int id, float* out) {
    const int hidden = model.hidden;
    if (model.embedding != nullptr) {
        const auto* row = static_cast<const std::uint16_t*>(model.embedding) + static_cast<std::size_t>(id) * hidden;
        for (int at = 0; at < hidden; at += 16) {
            const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + at)));
            _mm512_storeu_ps(out + at, _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16)));
        }
        return;
    }
    const int packed = model.kind == kInt8 ? 4 : 2;  // inputs in a word
    const auto* words = static_cast<const std::uint32_t*>(model.head.weight) +
                        static_cast<std::size_t>(id / kPanel) * (hidden / packed) * kPanel + id % kPanel;
    for (int at = 0; at < hidden; at += packed, words += kPanel) {
        if (model.kind == kInt8) {
            std::int8_t four[4];
            std::memcpy(four, words, 4);
            for (int lane = 0; lane < 4; ++lane) out[at + lane] = four[lane] * model.head.scale[id];
        } else {
            const std::uint32_t two[2] = {*words << 16, *words & 0xffff0000u};
            std::memcpy(out + at, two, 8);
        }
    }
}

// One team member's way through a step.
class Pass {
public:
    Pass(const Model& model, const Batch& batch, const Plan& plan, const Team& team, Scratch& scratch,
         Adapted& adapted)
        : model_(model), batch_(batch), plan_(plan), team_(team), scratch_(scratch), adapted_(adapted),
          rows_(batch.tokens, limit()) {}

    void run() {
        const Range mine = team_.share(batch_.tokens);
        for (int row = mine.begin; row < mine.end; ++row)
            embed(model_, batch_.ids[row], hidden() + static_cast<std::size_t>(row) * model_.hidden);
        team_.sync();
        for (int index = 0; index < model_.count; ++index) {
            const Layer& layer = model_.layers[index];
            mix(layer, index);
            attend(layer);
            if (index + 1 == model_.count) keep_wanted();
            if (rows_.count > 0) feed(layer, index);
        }
        if (rows_.count > 0) logits();
    }

private:
    bool bytes() const { return model_.kind == kInt8; }
    int limit() const { return bytes() ? kRows / 2 : kRows; }
    float* hidden() const { return scratch_.hidden.get(); }

    void feed(const Layer& layer, int index) {
        const int inner = model_.heads * model_.size;
        add_back(layer.out, prepare(scratch_.attended.get(), nullptr, inner), &LayerDelta::out, index, layer.gate_up);
        const Packed& active = activate(layer, index);
        const Linear& next = index + 1 < model_.count ? model_.layers[index + 1].qkv : model_.head;
        add_back(layer.down, active, &LayerDelta::down, index, next);
    }

    // The keys of the last layer are written: rows whose logits nobody wants have done what they are here for. The
    // others move to the front.
    void keep_wanted() {
        if (batch_.wanted_count == batch_.tokens) return;
        if (team_.id == 0) {
            move_wanted(hidden(), model_.hidden);
            move_wanted(scratch_.attended.get(), model_.heads * model_.size);
            if (adapted_.any()) {
                std::copy_n(adapted_.adapter, batch_.tokens, scratch_.adapter.get());
                move_wanted(scratch_.adapter.get(), 1);
                adapted_.adapter = scratch_.adapter.get();
            }
        }
        rows_ = Rows(batch_.wanted_count, limit());
        team_.sync();
    }

    template <class T>
    void move_wanted(T* rows, int width) const {
        for (std::size_t index = 0; index < static_cast<std::size_t>(batch_.wanted_count); ++index)
            std::copy_n(rows + static_cast<std::size_t>(batch_.wanted[index]) * width, width, rows + index * width);
    }

    // The packed input of a product: each thread's own for few rows, else shared and synchronised.
    const Packed& prepare(const float* source, const float* norm, int inputs) {
        const Packing what{source, norm, model_.epsilon, inputs, !bytes() || adapted_.any(), bytes()};
        if (rows_.count <= kPrivate) {
            Packed& own = scratch_.own[team_.id];
            pack(what, rows_, {0, rows_.count}, own);
            return own;
        }
        pack(what, rows_, team_.share(rows_.count), scratch_.shared);
        team_.sync();
        return scratch_.shared;
    }

    // A product over all rows with the adapters' share; `done` as in linear.h. Ends synchronised.
    template <class Done>
    void multiply(const Linear& linear, Part part, int index, const Packed& packed, const Linear& next, Done&& done) {
        int ranks = 0;
        if (adapted_.any() && (ranks = widest(adapted_, part, index)) > 0) {
            adapt_down(team_, adapted_, part, index, packed, rows_, linear.inputs);
            team_.sync();
        }
        product(team_, linear, bytes(), packed, rows_, first_panel(next, bytes(), team_),
                [&](int panel, int first, int height, float* tile) {
                    if (ranks > 0) adapt_up(adapted_, part, index, ranks, panel, first, height, tile);
                    done(panel, first, height, tile);
                });
        team_.sync();
    }

    void mix(const Layer& layer, int index) {
        const Packed& packed = prepare(hidden(), layer.attention_norm, model_.hidden);
        const int width = (model_.heads + 2 * model_.key_heads) * model_.size;
        multiply(layer.qkv, &LayerDelta::qkv, index, packed, layer.out,
                 [&](int panel, int first, int height, const float* tile) {
                     store(layer.qkv, panel, height, tile,
                           scratch_.mixed.get() + static_cast<std::size_t>(first) * width + panel * kPanel, width, false);
                 });
    }

    void attend(const Layer& layer) {
        const Attention attention{model_, batch_, plan_, scratch_.mixed.get(), scratch_.attended.get(),
                                  scratch_.partials.get()};
        if (plan_.writes_apart()) {
            int item = 0;
            for (int segment = 0; segment < batch_.segments; ++segment)
                for (int token = 0; token < batch_.counts[segment]; ++token)
                    for (int head = 0; head < model_.key_heads; ++head)
                        if (item++ % team_.size == team_.id)
                            attention.write(layer, batch_.first_row[segment] + token, segment, head);
            team_.sync();
        }
        for (int share = team_.id; share < batch_.threads; share += team_.size) attention.attend(layer, share);
        team_.sync();
        if (plan_.splits().empty()) return;
        attention.join(team_.share(static_cast<int>(plan_.splits().size())));
        team_.sync();
    }

    void add_back(const Linear& linear, const Packed& packed, Part part, int index, const Linear& next) {
        multiply(linear, part, index, packed, next, [&](int panel, int first, int height, const float* tile) {
            store(linear, panel, height, tile,
                  hidden() + static_cast<std::size_t>(first) * model_.hidden + panel * kPanel, model_.hidden, true);
        });
    }

    // The gated values, packed: bfloat16 at once, bytes when the largest of a row is known.
    const Packed& activate(const Layer& layer, int index) {
        const Packed& packed = prepare(hidden(), layer.mlp_norm, model_.hidden);
        multiply(layer.gate_up, &LayerDelta::gate_up, index, packed, layer.down,
                 [&](int panel, int first, int height, const float* tile) {
                     float* out = scratch_.active.get() + static_cast<std::size_t>(first) * model_.mlp + panel * 16;
                     const Block block = scratch_.gated.pairs_from(first, height, model_.mlp);
                     for (int row = 0; row < height; ++row, tile += kPanel, out += model_.mlp) {
                         const __m512 gated = _mm512_mul_ps(silu(_mm512_load_ps(tile)), _mm512_load_ps(tile + 16));
                         if (bytes()) _mm512_storeu_ps(out, gated);
                         else put_pairs(block, row, panel * 16, gated);
                     }
                 });
        return bytes() ? prepare(scratch_.active.get(), nullptr, model_.mlp) : scratch_.gated;
    }

    void logits() {
        const Packed& packed = prepare(hidden(), model_.norm, model_.hidden);
        product(team_, model_.head, bytes(), packed, rows_, first_panel(model_.layers[0].qkv, bytes(), team_),
                [&](int panel, int first, int height, const float* tile) {
                    const int count = std::min(kPanel, model_.vocabulary - panel * kPanel);
                    float* out = batch_.logits + static_cast<std::size_t>(first) * model_.vocabulary + panel * kPanel;
                    for (int row = 0; row < height; ++row, tile += kPanel, out += model_.vocabulary)
                        std::memcpy(out, tile, count * sizeof(float));
                });
    }

    static void store(const Linear& linear, int panel, int height, const float* tile, float* out, int width, bool add) {
        for (int half = 0; half < kPanel; half += 16) {
            const __m512 bias =
                linear.bias == nullptr ? _mm512_setzero_ps() : _mm512_loadu_ps(linear.bias + panel * kPanel + half);
            for (int row = 0; row < height; ++row) {
                __m512 value = _mm512_add_ps(_mm512_load_ps(tile + row * kPanel + half), bias);
                float* target = out + static_cast<std::size_t>(row) * width + half;
                if (add) value = _mm512_add_ps(value, _mm512_loadu_ps(target));
                _mm512_storeu_ps(target, value);
            }
        }
    }

    const Model& model_;
    const Batch& batch_;
    const Plan& plan_;
    Team team_;
    Scratch& scratch_;
    Adapted& adapted_;
    Rows rows_;
};

void reserve(const Model& model, const Batch& batch, const Plan& plan, Adapted& adapted, Scratch& scratch) {
    const std::size_t tokens = batch.tokens, heads = model.heads;
    scratch.hidden.reserve(tokens * model.hidden);
    scratch.mixed.reserve(tokens * (heads + 2 * model.key_heads) * model.size);
    scratch.attended.reserve(tokens * heads * model.size);
    if (model.kind == kInt8) scratch.active.reserve(tokens * model.mlp);
    else reserve(scratch.gated, batch.tokens, {nullptr, nullptr, 0, model.mlp, true, false});
    if (adapted.any()) scratch.adapter.reserve(tokens);
    scratch.partials.reserve(static_cast<std::size_t>(plan.partials()) * (model.size + 16) + 1);
    const int widest_input = std::max({model.hidden, model.mlp, model.heads * model.size});
    const bool bytes = model.kind == kInt8;
    const Packing what{nullptr, nullptr, 0, widest_input, !bytes || adapted.any(), bytes};
    reserve(scratch.shared, batch.tokens, what);
    if (scratch.threads < batch.threads) {
        scratch.own = std::make_unique<Packed[]>(batch.threads);
        scratch.threads = batch.threads;
    }
    for (int thread = 0; thread < batch.threads; ++thread) reserve(scratch.own[thread], kPrivate, what);
    int ranks = 0;
    for (int layer = 0; adapted.any() && layer < model.count; ++layer)
        for (const Part part : {&LayerDelta::qkv, &LayerDelta::out, &LayerDelta::gate_up, &LayerDelta::down})
            ranks = std::max(ranks, widest(adapted, part, layer));
    reserve(adapted.inner, batch.tokens, {nullptr, nullptr, 0, ranks, true, false});
}

struct Context {
    Model model;
    Scratch scratch;
    Adapted adapted;
};

}  // namespace
}  // namespace flywheel

extern "C" {

// The model's struct is copied; what it points to must outlive the context.
void* flywheel_open(const flywheel::Model* model) {
    auto* context = new (std::nothrow) flywheel::Context();
    if (context != nullptr) context->model = *model;
    return context;
}

void flywheel_close(void* context) { delete static_cast<flywheel::Context*>(context); }

// Keeps each member of the calling thread's team on a processor of its own, where there is one for each.
void flywheel_keep(int threads) {
    const flywheel::Processors processors;
#pragma omp parallel num_threads(threads)
    processors.keep(omp_get_thread_num(), omp_get_num_threads());
}

// 0, or 1 when there is no memory. One call at a time for a context.
int flywheel_step(void* opened, const flywheel::Batch* batch) {
    using namespace flywheel;
    auto& context = *static_cast<Context*>(opened);
    try {
        const Plan plan(context.model, *batch, batch->threads);
        context.adapted.adapter = batch->adapter;
        context.adapted.adapters = batch->adapters;
        context.adapted.count = batch->adapter_count;
        reserve(context.model, *batch, plan, context.adapted, context.scratch);
        Barrier barrier;
        const auto claims = std::make_unique<Claims[]>(2 * batch->threads);
#pragma omp parallel num_threads(batch->threads)
        {
            const Team team{omp_get_thread_num(), omp_get_num_threads(), &barrier, claims.get()};
            Pass(context.model, *batch, plan, team, context.scratch, context.adapted).run();
        }
    } catch (const std::bad_alloc&) {
        return 1;
    }
    return 0;
}
}
