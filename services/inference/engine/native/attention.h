// Attention of a step over the pages of the cache.
#pragma once
#include <vector>

#include "kernels.h"
#include "memory.h"
#include "model.h"
#include "threads.h"

namespace flywheel {

constexpr int kBlockPages = 8;  // pages a block of scores covers
constexpr int kAheadPages = 6;  // pages between what is computed and what is fetched from memory meanwhile

// Some query rows of one sequence against some of its pages, for heads that share a key head.
struct Item {
    int segment, key_head, head, heads, token, tokens;  // heads within the group; tokens within the segment
    int page, pages;
    int partial;  // where an unfinished result goes, or -1
};

// One query row's result spread over several items.
struct Split {
    int row, head, first, stride, count;
};

// Who attends to what in this step, the same for all layers.
class Plan {
public:
    Plan(const Model& model, const Batch& batch, int threads);

    bool writes_apart() const { return writes_apart_; }  // keys must all be written before attention begins
    const std::vector<Item>& items(int share) const { return items_[share]; }
    const std::vector<Split>& splits() const { return splits_; }
    int partials() const { return partials_; }

private:
    void add_chunk(const Model& model, const Batch& batch, int segment);
    void add_single(const Model& model, const Batch& batch, int segment, int pieces);
    void share_out(int threads);

    std::vector<Item> all_;
    std::vector<std::vector<Item>> items_;
    std::vector<Split> splits_;
    int partials_ = 0;
    bool writes_apart_ = false;
};

struct Attention {
    const Model& model;
    const Batch& batch;
    const Plan& plan;
    const float* mixed;  // (tokens, (heads + 2 key heads) * size): query, key, value
    float* out;          // (tokens, heads * size)
    float* partials;     // (partials, size + 16): the weighted sum, then the largest score and the total weight

    // Turns a key and writes it and its value into the cache.
    void write(const Layer& layer, int row, int segment, int key_head) const;
    // Computes one share of the items.
    void attend(const Layer& layer, int share) const;
    // Joins partial results.
    void join(Range splits) const;

private:
    struct Queries;

    void begin(const Layer& layer, const Item& item, Queries& rows) const;
    void pass(const Layer& layer, const std::vector<Item>& items, std::size_t at, Queries& rows) const;
    void finish(const Item& item, const Queries& rows) const;
    const char* page_of(const void* cache, const Item& item, int page) const;
    Ahead ahead_of(const void* cache, const std::vector<Item>& items, std::size_t at, int page) const;
};

}  // namespace flywheel
