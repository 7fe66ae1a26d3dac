// How the attention of a step is cut into items and shared out.
#include <algorithm>
#include <cstdint>

#include "attention.h"
#include "kernels.h"

namespace flywheel {
namespace {

constexpr int kSplitPages = 16;  // a single token's attention is cut in pieces of at least so many pages

int first_page(const Model& model, int position) {
    return model.window == 0 ? 0 : std::max(0, position - model.window + 1) / kPage;
}

}  // namespace

Plan::Plan(const Model& model, const Batch& batch, int threads) : items_(threads) {
    int singles = 0;
    for (int segment = 0; segment < batch.segments; ++segment) singles += batch.counts[segment] == 1;
    const bool few = singles * model.key_heads < 4 * threads;
    for (int segment = 0; segment < batch.segments; ++segment) {
        if (batch.counts[segment] > 1) {
            add_chunk(model, batch, segment);
            continue;
        }
        const int position = batch.starts[segment];
        const int pages = position / kPage + 1 - first_page(model, position);
        add_single(model, batch, segment, few && threads > 1 ? std::max(1, pages / kSplitPages) : 1);
    }
    share_out(threads);
}

void Plan::add_chunk(const Model& model, const Batch& batch, int segment) {
    const int group = model.heads / model.key_heads;
    const int heads = std::min(group, kRows), step = std::max(1, kRows / group);
    writes_apart_ = true;
    for (int token = 0; token < batch.counts[segment]; token += step) {
        const int tokens = std::min(step, batch.counts[segment] - token);
        const int from = batch.starts[segment] + token, page = first_page(model, from);
        const int pages = (from + tokens - 1) / kPage + 1 - page;
        for (int key_head = 0; key_head < model.key_heads; ++key_head)
            for (int head = 0; head < group; head += heads)
                all_.push_back({segment, key_head, head, std::min(heads, group - head), token, tokens, page, pages, -1});
    }
}

void Plan::add_single(const Model& model, const Batch& batch, int segment, int pieces) {
    const int group = model.heads / model.key_heads, heads = std::min(group, kRows);
    const int position = batch.starts[segment], page = first_page(model, position);
    const int pages = position / kPage + 1 - page, size = (pages + pieces - 1) / pieces;
    if (group > heads) writes_apart_ = true;
    if (size >= pages) {
        for (int key_head = 0; key_head < model.key_heads; ++key_head)
            for (int head = 0; head < group; head += heads)
                all_.push_back({segment, key_head, head, std::min(heads, group - head), 0, 1, page, pages, -1});
        return;
    }
    writes_apart_ = true;
    const int count = (pages + size - 1) / size;
    for (int key_head = 0; key_head < model.key_heads; ++key_head)
        for (int head = 0; head < group; head += heads) {
            const int width = std::min(heads, group - head);
            for (int piece = 0; piece < count; ++piece)
                all_.push_back({segment, key_head, head, width, 0, 1, page + piece * size,
                                std::min(size, pages - piece * size), partials_ + piece * width});
            for (int one = 0; one < width; ++one)
                splits_.push_back({batch.first_row[segment], key_head * group + head + one, partials_ + one, width, count});
            partials_ += count * width;
        }
}

void Plan::share_out(int threads) {
    const auto cost = [](const Item& item) {  // reading a page costs about as much as two rows of products
        return static_cast<std::int64_t>(item.pages + 1) * (item.heads * item.tokens + 2);
    };
    std::stable_sort(all_.begin(), all_.end(), [&](const Item& a, const Item& b) { return cost(a) > cost(b); });
    std::vector<std::int64_t> load(threads, 0);
    for (const Item& item : all_) {
        const auto least = std::min_element(load.begin(), load.end()) - load.begin();
        load[least] += cost(item);
        items_[least].push_back(item);
    }
}

}  // namespace flywheel
