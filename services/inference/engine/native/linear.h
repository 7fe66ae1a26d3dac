// A linear layer over a team: every thread reads its own panels of the weights once and finishes their outputs.
#pragma once
#include "activations.h"
#include "model.h"

namespace flywheel {

// The rows of a step that use adapters, and what their `down` products gave.
struct Adapted {
    const std::int32_t* adapter = nullptr;  // (tokens) index or -1
    const LayerDelta* const* adapters = nullptr;
    int count = 0;
    Packed inner;  // (tokens, ranks) as bfloat16 pairs

    bool any() const { return adapter != nullptr; }
    // The one adapter of rows first..first + height - 1: its index or -1, or -2 when they differ.
    int shared_by(int first, int height) const {
        for (int row = 1; row < height; ++row)
            if (adapter[first + row] != adapter[first]) return -2;
        return adapter[first];
    }
};

using Part = Delta LayerDelta::*;

// Computes `inner` for one product of one layer; call by the whole team, then sync.
void adapt_down(const Team& team, const Adapted& adapted, Part part, int layer, const Packed& packed, const Rows& rows,
                int inputs);

// Ranks of the widest adapter for this product.
int widest(const Adapted& adapted, Part part, int layer);

// Adds the adapters' share to a tile (height, 32).
void adapt_up(const Adapted& adapted, Part part, int layer, int ranks, int panel, int first, int height, float* tile);

inline std::size_t panel_bytes(const Linear& linear, bool bytes) {
    return static_cast<std::size_t>(linear.inputs) * kPanel * (bytes ? 1 : 2);
}

inline const char* first_panel(const Linear& linear, bool bytes, const Team& team) {
    return static_cast<const char*>(linear.weight) + panel_bytes(linear, bytes) * team.share(linear.panels).begin;
}

// The tile (height, 32) of one block and panel, without bias.
void compute_tile(const Linear& linear, bool bytes, const Packed& packed, int panel, int first, int height,
                  float* tile, Ahead ahead);

// Calls done(panel, first row, height, tile (height, 32)) for every block of the panels that this team member takes.
// `next` is what it reads after its last panel. With more than one block a panel takes so long that members help out.
template <class Done>
void product(Team& team, const Linear& linear, bool bytes, const Packed& packed, const Rows& rows,
             const char* next, Done&& done) {
    alignas(64) float tile[kRows * kPanel];
    const std::size_t size = panel_bytes(linear, bytes);
    const int last = team.share(linear.panels).end - 1;
    team.share_out(linear.panels, rows.blocks > 1, [&](int panel) {
        const char* following =
            panel != last ? static_cast<const char*>(linear.weight) + size * (panel + 1) : next;
        for (int block = 0; block < rows.blocks; ++block) {
            Ahead ahead{following, 0};  // the next panel is read ahead in one pass, or half in each of two
            if (rows.blocks == 1) ahead.lines = 2;
            else if (block < 2) ahead = {following + block * size / 2, 1};
            const int first = rows.start(block), height = rows.height(block);
            compute_tile(linear, bytes, packed, panel, first, height, tile, ahead);
            done(panel, first, height, tile);
        }
    });
}

}  // namespace flywheel
