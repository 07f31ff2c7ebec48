// Products with packed weights: prepare the rows, then panel by panel.
#pragma once

namespace gristmill { namespace GM_LEVEL {

static inline uint32_t forms_of(const LinearArgs& a) {
    uint32_t forms = 0;
    for (int i = 0; i < a.n_matrices; ++i) forms |= act_form(a.matrices[i].kind);
    return forms;
}

struct LinearScratch {              // one thread's memory
    Unpacked* unpacked;
    float* acc[2];
    uint8_t* acts;
    LinearScratch(uint8_t* p, int block_rows) {
        unpacked = reinterpret_cast<Unpacked*>(p);
        acc[0] = reinterpret_cast<float*>(p + sizeof(Unpacked));
        acc[1] = acc[0] + acc_floats(block_rows);
        acts = reinterpret_cast<uint8_t*>(acc[1] + acc_floats(block_rows));
    }
    static size_t acc_floats(int block_rows) { return static_cast<size_t>(block_rows + kBigTile) * 16; }
    static size_t bytes(int block_rows) { return sizeof(Unpacked) + 2 * 4 * acc_floats(block_rows); }
};

static size_t linear_scratch(const LinearArgs& a) {
    size_t own = a.acts ? 0 : Tiles(a.n).padded() * Acts::row_bytes(a.cols, forms_of(a));
    return LinearScratch::bytes(a.block_rows) + own;
}

static void prepare_rows(const LinearArgs& a, const Acts& acts, int first, int last) {
    Tiles tiles(a.n);
    for (int row = first; row < last; ++row) {
        if (row < a.n) acts.prepare(tiles, row, RowReader(a.x + row * a.x_stride, a.norm, a.cols, a.eps));
        else acts.zero(tiles, row);
    }
}

static void linear_prepare(const void* args, Scratch, int64_t first, int64_t last) {
    const LinearArgs& a = *static_cast<const LinearArgs*>(args);
    prepare_rows(a, Acts(a.acts, a.n, a.cols, forms_of(a)), static_cast<int>(first), static_cast<int>(last));
}

static void linear_begin(const void* args, Scratch scratch) {       // few rows: every thread prepares them for itself
    const LinearArgs& a = *static_cast<const LinearArgs*>(args);
    if (a.acts) return;
    Acts acts(LinearScratch(scratch.data, a.block_rows).acts, a.n, a.cols, forms_of(a));
    prepare_rows(a, acts, 0, Tiles(a.n).padded());
}

// Rows [row, row + n) of one panel's 16 outputs, from acc (n, 16).
static void write_outputs(const LinearArgs& a, const Matrix& m, int panel, int row, int n, const float* acc,
                          const float* gated) {
    const int at = panel * 16, width = m.rows - at < 16 ? m.rows - at : 16;
    F bias = m.bias ? load_part(m.bias + at, width) : set_f(0.0f);
    for (int i = 0; i < n; ++i) {
        F y = load_f(acc + 16 * i);
        if (m.bias) y = add(y, bias);
        if (a.activation) {
            F up = load_f(gated + 16 * i);
            if (a.matrices[1].bias) up = add(up, load_part(a.matrices[1].bias + at, width));
            y = mul(activate(y, a.activation), up);
        }
        if (a.residual) y = add(load_part(a.residual + (row + i) * a.residual_stride + at, width), y);
        store_part(m.out + (row + i) * m.out_stride + at, y, width);
    }
}

static void linear_item(const LinearArgs& a, const Acts& acts, const LinearScratch& s, int matrix, int panel, int block) {
    const Tiles tiles(a.n);
    const int per_block = a.block_rows / kBigTile, first = block * per_block;
    const int last = tiles.count() < first + per_block ? tiles.count() : first + per_block;
    const int row = tiles.first_row(first);
    const int end = tiles.first_row(last) < a.n ? tiles.first_row(last) : a.n;
    for (int i = 0; i < (a.activation ? 2 : 1); ++i) {
        const Matrix& m = a.matrices[matrix + i];
        multiply_panel(m.kind, m.data + panel * m.panel_bytes, acts, tiles, first, last, *s.unpacked, s.acc[i]);
    }
    write_outputs(a, a.matrices[matrix], panel, row, end - row, s.acc[0], s.acc[1]);
}

// Items: for each block of tokens, the panels of all matrices one after the other.
static void linear(const void* args, Scratch scratch, int64_t first, int64_t last) {
    const LinearArgs& a = *static_cast<const LinearArgs*>(args);
    LinearScratch s(scratch.data, a.block_rows);
    Acts acts(a.acts ? a.acts : s.acts, a.n, a.cols, forms_of(a));
    const int n_matrices = a.activation ? 1 : a.n_matrices;     // the second of a gated pair goes with the first
    int64_t n_panels = 0;
    for (int i = 0; i < n_matrices; ++i) n_panels += (a.matrices[i].rows + 15) / 16;
    for (int64_t item = first; item < last; ++item) {
        int block = static_cast<int>(item / n_panels), panel = static_cast<int>(item % n_panels), matrix = 0;
        while (panel >= (a.matrices[matrix].rows + 15) / 16) panel -= (a.matrices[matrix++].rows + 15) / 16;
        linear_item(a, acts, s, matrix, panel, block);
    }
}

}}  // namespace gristmill::GM_LEVEL
