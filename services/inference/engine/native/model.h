// What Python hands over: the model once, a batch each step. library.py mirrors every struct field by field.
#pragma once
#include <cstdint>

namespace flywheel {

constexpr int kPage = 32;     // positions a page of the cache holds
constexpr int kPanel = 32;    // outputs a panel of weights holds
constexpr int kSections = 3;  // products fused into one: query, key and value

enum Kind : std::int32_t { kBfloat16 = 0, kInt8 = 1 };

// y = W x + bias. Weights lie in panels of 32 outputs: bfloat16 [panel][input / 2][output][2], int8
// [panel][input / 4][output][4] with a scale and the sum of the integers for each output.
struct Linear {
    const void* weight;
    const float* scale;
    const std::int32_t* sum;
    const float* bias;
    std::int32_t inputs, panels;
};

struct Layer {
    const float *attention_norm, *query_norm, *key_norm, *mlp_norm;
    Linear qkv, out, gate_up, down;
    void *keys, *values;  // bfloat16, (pages, key heads, 32 * head size); the order inside a page is attention.cpp's
};

struct Model {
    const Layer* layers;
    const float *norm, *cosine, *sine;  // rotation tables: (capacity, head size / 2)
    const void* embedding;              // bfloat16 (vocabulary, hidden), or null: it is the head's weight
    Linear head;
    std::int32_t kind, count, hidden, heads, key_heads, size, mlp, vocabulary, window;  // window 0: none
    float epsilon, scale;
};

// The low-rank weights beside one fused product: `down` (rank, inputs) and `up` (outputs, rank) in bfloat16 panels.
// Rank is that of all sections together; the panels before end[i] take ranks pair_start[i] * 2 and on.
struct Delta {
    const void *down, *up;
    std::int32_t rank;
    std::int32_t end[kSections], pair_start[kSections], pair_count[kSections];
};

struct LayerDelta {
    Delta qkv, out, gate_up, down;
};

struct Batch {
    const std::int32_t *ids, *positions;              // (tokens)
    const std::int32_t *starts, *counts, *first_row;  // (segments)
    const std::int32_t *table_at, *tables;            // where a segment's page table begins in `tables`
    const std::int32_t* wanted;                       // (wanted) rows, ascending
    const std::int32_t* adapter;                      // (tokens) index into adapters or -1; null when there is none
    const LayerDelta* const* adapters;                // (adapters) pointers to `count` layers
    float* logits;                                    // (wanted, vocabulary)
    std::int32_t tokens, segments, wanted_count, adapter_count, threads;
};

}  // namespace flywheel
