#include "linear.h"

#include <algorithm>

#include "vectors.h"

namespace flywheel {
namespace {

const char* panel_of(const void* weight, int depth, int panel) {
    return static_cast<const char*>(weight) + static_cast<std::size_t>(depth) * kPanel * 2 * panel;
}

// Integer sums of the high (offset by 128) and low bytes of each row become floats.
void scale_tile(const Linear& linear, const std::int32_t* sums, const float* row_scale, int panel, int height,
                float* tile) {
    for (int part = 0; part < kPanel; part += 16) {
        const __m512 scale = _mm512_loadu_ps(linear.scale + panel * kPanel + part);
        const __m512i offset = _mm512_slli_epi32(_mm512_loadu_si512(linear.sum + panel * kPanel + part), 7);
        for (int row = 0; row < height; ++row) {
            const __m512i high = _mm512_sub_epi32(_mm512_load_si512(sums + 64 * row + part), offset);
            const __m512 low = _mm512_cvtepi32_ps(_mm512_load_si512(sums + 64 * row + 32 + part));
            const __m512 whole = _mm512_fmadd_ps(_mm512_cvtepi32_ps(high), _mm512_set1_ps(256.0f), low);
            const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(row_scale[row]));
            _mm512_store_ps(tile + row * kPanel + part, _mm512_mul_ps(whole, both));
        }
    }
}

}  // namespace

void compute_tile(const Linear& linear, bool bytes, const Packed& packed, int panel, int first, int height,
                  float* tile, Ahead ahead) {
    const char* weight = static_cast<const char*>(linear.weight) + panel_bytes(linear, bytes) * panel;
    if (!bytes) {
        const Block block = packed.pairs_from(first, height, linear.inputs);
        multiply_bfloat16(height, block, weight, linear.inputs / 2, tile, kPanel, false, ahead);
        return;
    }
    alignas(64) std::int32_t sums[kRows * kPanel];
    multiply_int8(2 * height, packed.bytes_from(first, height, linear.inputs), weight, linear.inputs / 4, sums, ahead);
    scale_tile(linear, sums, packed.scale.get() + first, panel, height, tile);
}

int widest(const Adapted& adapted, Part part, int layer) {
    int ranks = 0;
    for (int index = 0; index < adapted.count; ++index)
        ranks = std::max(ranks, (adapted.adapters[index][layer].*part).rank);
    return ranks;
}

void adapt_down(const Team& team, const Adapted& adapted, Part part, int layer, const Packed& packed, const Rows& rows,
                int inputs) {
    const int ranks = widest(adapted, part, layer);
    alignas(64) float tile[kRows * kPanel];
    int item = 0;
    const auto compute = [&](const Delta& delta, int block, int row, int count) {
        const int first = rows.start(block), height = rows.height(block);
        Block source = packed.pairs_from(first, height, inputs);
        source.words += row * kGroup;
        const Block target = adapted.inner.pairs_from(first, height, ranks);
        for (int panel = 0; panel < delta.rank / kPanel; ++panel) {
            if (item++ % team.size != team.id) continue;
            multiply_bfloat16(count, source, panel_of(delta.down, inputs, panel), inputs / 2, tile, kPanel, false,
                              {nullptr, 0});
            for (int one = 0; one < count; ++one)
                for (int half = 0; half < kPanel; half += 16)
                    put_pairs(target, row + one, panel * kPanel + half, _mm512_load_ps(tile + one * kPanel + half));
        }
    };
    for (int block = 0; block < rows.blocks; ++block) {
        const int first = rows.start(block), height = rows.height(block);
        const int shared = adapted.shared_by(first, height);
        if (shared >= 0) compute(adapted.adapters[shared][layer].*part, block, 0, height);
        if (shared != -2) continue;
        for (int row = 0; row < height; ++row)
            if (const int one = adapted.adapter[first + row]; one >= 0)
                compute(adapted.adapters[one][layer].*part, block, row, 1);
    }
}

void adapt_up(const Adapted& adapted, Part part, int layer, int ranks, int panel, int first, int height, float* tile) {
    const Block inner = adapted.inner.pairs_from(first, height, ranks);
    const auto add = [&](const Delta& delta, int row, int count) {
        int section = 0;
        while (section + 1 < kSections && panel >= delta.end[section]) ++section;
        const int from = delta.pair_start[section], steps = delta.pair_count[section];
        if (steps == 0) return;
        multiply_bfloat16(count, {inner.words + row * kGroup, height, from},
                          panel_of(delta.up, delta.rank, panel) + static_cast<std::size_t>(from) * 128, steps,
                          tile + row * kPanel, kPanel, true, {nullptr, 0});
    };
    const int shared = adapted.shared_by(first, height);
    if (shared >= 0) add(adapted.adapters[shared][layer].*part, 0, height);
    if (shared != -2) return;
    for (int row = 0; row < height; ++row)
        if (const int one = adapted.adapter[first + row]; one >= 0) add(adapted.adapters[one][layer].*part, row, 1);
}

}  // namespace flywheel
