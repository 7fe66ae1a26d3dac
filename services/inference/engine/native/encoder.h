// What Python hands over for an encoder: the model once, some texts each call. encoder_library.py mirrors every struct.
#pragma once
#include <cstdint>

#include "model.h"

namespace flywheel {

enum Activation : std::int32_t { kNothing = 0, kTanh = 1, kRelu = 2 };

// y = W x + bias in float32, the weight (outputs, inputs).
struct Plain {
    const float *weight, *bias;
    std::int32_t inputs, outputs;
};

struct Norm {
    const float *weight, *bias;
};

// One layer twice: products in bfloat16 panels, and the model's own weights.
struct EncoderLayer {
    Linear qkv, out, up, down;
    Plain query, key, value, plain_out, plain_up, plain_down;
    Norm attention_norm, norm;
};

// The head is `pooler`, its activation and `labels`; a weight that is null is left out.
struct Encoder {
    const EncoderLayer* layers;
    const float *words, *positions, *types;  // rows of `width`; types may be null
    Norm norm;
    Plain pooler, labels;
    std::int32_t activation;
    std::int32_t count, width, heads, mlp;
    std::int32_t shift;  // of the first position in its table
    float epsilon;
};

struct Texts {
    const std::int32_t* ids;     // (tokens) of all texts, one after another
    const std::int32_t* types;   // (tokens), or null: all 0
    const std::int32_t* starts;  // (count + 1) the first token of each text, then the number of tokens
    float* out;                  // (tokens or texts, labels or width)
    std::int32_t count;
    std::int32_t first_only;  // the head judges each text's first token, else every token
    std::int32_t with_head;   // what the head gives, else hidden states
};

}  // namespace flywheel
