// Inside a page keys lie [size / 2][position][2] and values [size / 32][position / 2][32][2]: both are panels of
// weights, so scores and weighted sums are products of kernels.h, and a key that is written once is never turned
// over again. Softmax runs over blocks of pages with a running maximum (Milakov and Gimelshein 2018; Dao et al. 2022).
#include "attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels.h"
#include "activations.h"
#include "vectors.h"

namespace flywheel {
namespace {

constexpr int kBlock = kBlockPages * kPage;
constexpr int kLargest = 256;  // head size
constexpr float kNone = -std::numeric_limits<float>::infinity();

// Normalises a head if it has a norm, rotates it (Su et al. 2021, halves paired as in GPT-NeoX).
void rotate(const Model& model, const float* head, const float* norm, int position, float* out) {
    const int half = model.size / 2;
    const float* cosine = model.cosine + static_cast<std::size_t>(position) * half;
    const float* sine = model.sine + static_cast<std::size_t>(position) * half;
    const float inverse = norm == nullptr ? 1 : 1 / std::sqrt(mean_square(head, model.size) + model.epsilon);
    const __m512 factor = _mm512_set1_ps(inverse);
    for (int at = 0; at < half; at += 16) {
        __m512 left = _mm512_loadu_ps(head + at), right = _mm512_loadu_ps(head + half + at);
        if (norm != nullptr) {
            left = _mm512_mul_ps(_mm512_mul_ps(left, factor), _mm512_loadu_ps(norm + at));
            right = _mm512_mul_ps(_mm512_mul_ps(right, factor), _mm512_loadu_ps(norm + half + at));
        }
        const __m512 c = _mm512_loadu_ps(cosine + at), s = _mm512_loadu_ps(sine + at);
        _mm512_storeu_ps(out + at, _mm512_fmsub_ps(left, c, _mm512_mul_ps(right, s)));
        _mm512_storeu_ps(out + half + at, _mm512_fmadd_ps(right, c, _mm512_mul_ps(left, s)));
    }
}

}  // namespace

// Rows of one item while its pages go by.
struct Attention::Queries {
    int count, size;
    alignas(64) float largest[kRows], total[kRows];
    alignas(64) float sum[kRows * kLargest];
    alignas(64) std::uint32_t query[kRows * kLargest / 2];
    alignas(64) float scores[kRows * kBlock];
    alignas(64) std::uint32_t weights[kRows * kBlock / 2];

    // Scores [from, to) of a row are visible among `width` computed; they become weights in bfloat16 pairs.
    void soften(int row, int from, int to, int width, float scale) {
        float* mine = scores + row * kBlock;
        const __m512 none = _mm512_set1_ps(kNone), factor = _mm512_set1_ps(scale);
        __m512 top = none;
        for (int at = 0; at < width; at += 16) {
            __m512 score = _mm512_mul_ps(_mm512_load_ps(mine + at), factor);
            if (at < from || at + 16 > to) score = _mm512_mask_blend_ps(visible(at, from, to), none, score);
            _mm512_store_ps(mine + at, score);
            top = _mm512_max_ps(top, score);
        }
        const float before = largest[row], now = std::max(before, _mm512_reduce_max_ps(top));
        if (now == kNone) {  // nothing is visible in this block, nor was before
            for (int at = 0; at < width; at += 16) put_pairs({weights, count}, row, at, _mm512_setzero_ps());
            return;
        }
        largest[row] = now;
        __m512 added = _mm512_setzero_ps();
        for (int at = 0; at < width; at += 16) {
            const __m512 score = _mm512_load_ps(mine + at);
            const __m512 weight = _mm512_maskz_mov_ps(visible(at, from, to), exponential(_mm512_sub_ps(score, _mm512_set1_ps(now))));
            added = _mm512_add_ps(added, weight);
            put_pairs({weights, count}, row, at, weight);
        }
        const float shrink = before == kNone ? 0.0f : std::exp(before - now);
        total[row] = total[row] * shrink + _mm512_reduce_add_ps(added);
        if (before == now) return;
        for (int at = 0; at < size; at += 16)
            _mm512_store_ps(sum + row * size + at, _mm512_mul_ps(_mm512_load_ps(sum + row * size + at), _mm512_set1_ps(shrink)));
    }

    static __mmask16 visible(int at, int from, int to) {
        const int low = std::clamp(from - at, 0, 16), high = std::clamp(to - at, 0, 16);
        return static_cast<__mmask16>(((1u << high) - 1) & ~((1u << low) - 1));
    }
};

void Attention::write(const Layer& layer, int row, int segment, int key_head) const {
    const int size = model.size, position = batch.positions[row], at = position % kPage;
    const std::size_t page = batch.tables[batch.table_at[segment] + position / kPage];
    const std::size_t offset = (page * model.key_heads + key_head) * kPage * size;
    const float* source = mixed + static_cast<std::size_t>(row) * (model.heads + 2 * model.key_heads) * size;
    alignas(64) float turned[kLargest];
    rotate(model, source + (model.heads + key_head) * size, layer.key_norm, position, turned);
    auto* keys = reinterpret_cast<std::uint32_t*>(static_cast<std::uint16_t*>(layer.keys) + offset);
    for (int part = 0; part < size; part += 16)
        scatter(to_pairs(_mm512_load_ps(turned + part)), keys + part / 2 * kPage + at, kPage);
    const float* value = source + (model.heads + model.key_heads + key_head) * size;
    std::uint16_t* values = static_cast<std::uint16_t*>(layer.values) + offset;
    alignas(32) std::uint16_t lanes[16];
    for (int part = 0; part < size; part += 16) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), to_pairs(_mm512_loadu_ps(value + part)));
        std::uint16_t* target = values + (part / 32 * (kPage / 2) + at / 2) * 64 + part % 32 * 2 + at % 2;
        for (int lane = 0; lane < 16; ++lane) target[lane * 2] = lanes[lane];
    }
}

void Attention::attend(const Layer& layer, int share) const {
    static thread_local Queries rows;
    const std::vector<Item>& items = plan.items(share);
    for (std::size_t at = 0; at < items.size(); ++at) {
        const Item& item = items[at];
        if (!plan.writes_apart()) write(layer, batch.first_row[item.segment], item.segment, item.key_head);
        begin(layer, item, rows);
        pass(layer, items, at, rows);
        finish(item, rows);
    }
}

void Attention::begin(const Layer& layer, const Item& item, Queries& rows) const {
    const int size = model.size, group = model.heads / model.key_heads;
    const std::size_t width = (model.heads + 2 * model.key_heads) * size;
    rows.count = item.heads * item.tokens;
    rows.size = size;
    for (int row = 0; row < rows.count; ++row) {
        alignas(64) float turned[kLargest];
        const int token = item.token + row / item.heads;
        const int head = item.key_head * group + item.head + row % item.heads;
        rotate(model, mixed + (batch.first_row[item.segment] + token) * width + head * size, layer.query_norm,
               batch.starts[item.segment] + token, turned);
        for (int at = 0; at < size; at += 16)
            put_pairs({rows.query, rows.count}, row, at, _mm512_load_ps(turned + at));
        rows.largest[row] = kNone;
        rows.total[row] = 0;
    }
    std::fill_n(rows.sum, rows.count * size, 0.0f);
}

void Attention::pass(const Layer& layer, const std::vector<Item>& items, std::size_t at, Queries& rows) const {
    const Item& item = items[at];
    const int start = batch.starts[item.segment] + item.token;
    for (int block = 0; block < item.pages; block += kBlockPages) {
        const int end = std::min(block + kBlockPages, item.pages), base = (item.page + block) * kPage;
        for (int page = block; page < end; ++page)
            multiply_bfloat16(rows.count, {rows.query, rows.count}, page_of(layer.keys, item, page), rows.size / 2,
                              rows.scores + (page - block) * kPage, kBlock, false,
                              ahead_of(layer.keys, items, at, page));
        for (int row = 0; row < rows.count; ++row) {
            const int position = start + row / item.heads;
            const int from = model.window == 0 ? 0 : position - model.window + 1 - base;
            rows.soften(row, from, position + 1 - base, (end - block) * kPage, model.scale);
        }
        for (int page = block; page < end; ++page) {
            const Block weights{rows.weights, rows.count, (page - block) * (kPage / 2)};
            Ahead ahead = ahead_of(layer.values, items, at, page);
            for (int part = 0; part < rows.size; part += kPanel, ahead.at += kPanel * kPage * 2)
                multiply_bfloat16(rows.count, weights, page_of(layer.values, item, page) + part * kPage * 2, kPage / 2,
                                  rows.sum + part, rows.size, true, ahead);
        }
    }
}

void Attention::finish(const Item& item, const Queries& rows) const {
    const int size = model.size, group = model.heads / model.key_heads;
    for (int row = 0; row < rows.count; ++row) {
        const int token = batch.first_row[item.segment] + item.token + row / item.heads;
        const int head = item.key_head * group + item.head + row % item.heads;
        const bool whole = item.partial < 0;
        float* target = whole ? out + (static_cast<std::size_t>(token) * model.heads + head) * size
                              : partials + static_cast<std::size_t>(item.partial + row) * (size + 16);
        const __m512 factor = _mm512_set1_ps(whole ? 1 / rows.total[row] : 1.0f);
        for (int at = 0; at < size; at += 16)
            _mm512_storeu_ps(target + at, _mm512_mul_ps(_mm512_load_ps(rows.sum + row * size + at), factor));
        if (whole) continue;
        target[size] = rows.largest[row];
        target[size + 1] = rows.total[row];
    }
}

const char* Attention::page_of(const void* cache, const Item& item, int page) const {
    const std::size_t which = batch.tables[batch.table_at[item.segment] + item.page + page];
    return static_cast<const char*>(cache) + (which * model.key_heads + item.key_head) * kPage * model.size * 2;
}

// Single tokens read pages that memory has not seen since the last step; chunks find theirs in the processor's cache.
Ahead Attention::ahead_of(const void* cache, const std::vector<Item>& items, std::size_t at, int page) const {
    if (items[at].tokens > 1) return {nullptr, 0};
    for (page += kAheadPages; page >= items[at].pages; ++at) {
        page -= items[at].pages;
        if (at + 1 == items.size()) return {nullptr, 0};
    }
    return {page_of(cache, items[at], page), 2};
}

void Attention::join(Range splits) const {
    const int size = model.size;
    for (int index = splits.begin; index < splits.end; ++index) {
        const Split& split = plan.splits()[index];
        const auto part = [&](int piece) {
            return partials + static_cast<std::size_t>(split.first + piece * split.stride) * (size + 16);
        };
        float largest = kNone, total = 0;
        for (int piece = 0; piece < split.count; ++piece) largest = std::max(largest, part(piece)[size]);
        float* target = out + (static_cast<std::size_t>(split.row) * model.heads + split.head) * size;
        std::fill_n(target, size, 0.0f);
        for (int piece = 0; piece < split.count; ++piece) {
            const float weight = std::exp(part(piece)[size] - largest);
            total += weight * part(piece)[size + 1];
            for (int at = 0; at < size; ++at) target[at] += weight * part(piece)[at];
        }
        for (int at = 0; at < size; ++at) target[at] /= total;
    }
}

}  // namespace flywheel
