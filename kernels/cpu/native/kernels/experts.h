// Mixture of experts: rows meet the matrix of the expert that was chosen for them.
#pragma once

namespace gristmill { namespace GM_LEVEL {

struct ExpertOrder {                // pairs sorted by expert, and where each expert's prepared rows begin
    int32_t* pairs;                 // (n,)
    int32_t* starts;                // (n_experts + 1,) into pairs
    int32_t* rows;                  // (n_experts + 1,) prepared rows before the expert's
    int32_t* active;                // how many experts have rows, then which
    explicit ExpertOrder(const ExpertArgs& a)
        : pairs(a.order), starts(pairs + a.n), rows(starts + a.n_experts + 1), active(rows + a.n_experts + 1) {}
};

static inline int64_t expert_of(const ExpertArgs& a, int pair) { return a.experts ? a.experts[pair] : pair % a.slots; }

static inline const float* expert_input(const ExpertArgs& a, int pair) {
    return a.x + pair / a.slots * a.x_stride + pair % a.slots * a.slot_stride;
}

static void expert_order(const void* args, Scratch, int64_t, int64_t) {     // one item
    const ExpertArgs& a = *static_cast<const ExpertArgs*>(args);
    ExpertOrder o(a);
    for (int e = 0; e <= a.n_experts; ++e) o.starts[e] = 0;
    for (int i = 0; i < a.n; ++i) ++o.starts[expert_of(a, i) + 1];
    for (int e = 0; e < a.n_experts; ++e) o.starts[e + 1] += o.starts[e];
    for (int e = 0; e <= a.n_experts; ++e) o.rows[e] = o.starts[e];        // used as cursors first
    for (int i = 0; i < a.n; ++i) o.pairs[o.rows[expert_of(a, i)]++] = i;
    o.rows[0] = o.active[0] = 0;
    for (int e = 0; e < a.n_experts; ++e) {
        int count = o.starts[e + 1] - o.starts[e];
        o.rows[e + 1] = o.rows[e] + Tiles(count).padded();
        if (count) o.active[++o.active[0]] = e;
    }
}

static Acts expert_acts(const ExpertArgs& a, const ExpertOrder& o, int expert) {
    uint32_t form = act_form(a.kind);
    uint8_t* memory = a.acts + Acts::row_bytes(a.cols, form) * o.rows[expert];
    return Acts(memory, o.starts[expert + 1] - o.starts[expert], a.cols, form);
}

static void expert_prepare(const void* args, Scratch, int64_t first, int64_t last) {    // items: experts, active first
    const ExpertArgs& a = *static_cast<const ExpertArgs*>(args);
    ExpertOrder o(a);
    for (int64_t i = first; i < last && i < o.active[0]; ++i) {
        int expert = o.active[1 + i], start = o.starts[expert], n = o.starts[expert + 1] - start;
        Tiles tiles(n);
        Acts acts = expert_acts(a, o, expert);
        for (int row = 0; row < tiles.padded(); ++row) {
            if (row >= n) acts.zero(tiles, row);
            else acts.prepare(tiles, row, RowReader(expert_input(a, o.pairs[start + row]), nullptr, a.cols, 0.0f));
        }
    }
}

constexpr int kExpertBlock = 4 * kBigTile;      // rows that are multiplied before they are written

static size_t expert_scratch(const ExpertArgs&) { return LinearScratch::bytes(kExpertBlock); }

static void expert_panel(const ExpertArgs& a, const ExpertOrder& o, const LinearScratch& s, int expert, int panel) {
    const int start = o.starts[expert], n = o.starts[expert + 1] - start, at = panel * 16;
    const int width = a.rows - at < 16 ? a.rows - at : 16;
    const uint8_t* weights = a.data + expert * a.expert_bytes + panel * a.panel_bytes;
    const Tiles tiles(n);
    const Acts acts = expert_acts(a, o, expert);
    for (int tile = 0; tile < tiles.count(); tile += kExpertBlock / kBigTile) {
        int end = tiles.count() < tile + kExpertBlock / kBigTile ? tiles.count() : tile + kExpertBlock / kBigTile;
        multiply_panel(a.kind, weights, acts, tiles, tile, end, *s.unpacked, s.acc[0]);
        int row = tiles.first_row(tile), stop = tiles.first_row(end) < n ? tiles.first_row(end) : n;
        for (int i = row; i < stop; ++i)
            store_part(a.out + static_cast<int64_t>(o.pairs[start + i]) * a.rows + at, load_f(s.acc[0] + 16 * (i - row)), width);
    }
}

static int64_t expert_count(const void* args) {
    const ExpertArgs& a = *static_cast<const ExpertArgs*>(args);
    return static_cast<int64_t>(ExpertOrder(a).active[0]) * ((a.rows + 15) / 16);
}

// Items: active experts, by panel.
static void expert(const void* args, Scratch scratch, int64_t first, int64_t last) {
    const ExpertArgs& a = *static_cast<const ExpertArgs*>(args);
    ExpertOrder o(a);
    LinearScratch s(scratch.data, kExpertBlock);
    const int n_panels = (a.rows + 15) / 16;
    for (int64_t i = first; i < last; ++i)
        expert_panel(a, o, s, o.active[1 + i / n_panels], static_cast<int>(i % n_panels));
}

}}  // namespace gristmill::GM_LEVEL
