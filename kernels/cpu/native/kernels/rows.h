// One row at a time: norms, and activations made ready for the dot products.
#pragma once

namespace gristmill { namespace GM_LEVEL {

// 1 / sqrt(mean(x^2) + eps)
static inline float rms_factor(const float* x, int cols, float eps) {
    F total = set_f(0.0f);
    int i = 0;
    for (; i + 16 <= cols; i += 16) {
        F v = load_f(x + i);
        total = fma(v, v, total);
    }
    if (i < cols) {
        F v = load_part(x + i, cols - i);
        total = fma(v, v, total);
    }
    return 1.0f / __builtin_sqrtf(sum_f(total) / static_cast<float>(cols) + eps);
}

// A row as the dot products read it: through the norm, if there is one. Sixteen elements at a time.
struct RowReader {
    const float* x;
    const float* weight;            // or null
    float factor;
    int cols;

    RowReader(const float* row, const float* norm, int n, float eps) : x(row), weight(norm), factor(1.0f), cols(n) {
        if (norm) factor = rms_factor(row, n, eps);
    }
    inline F operator()(int i) const {
        int n = cols - i;
        if (n >= 16) return weight ? mul(mul(load_f(x + i), set_f(factor)), load_f(weight + i)) : load_f(x + i);
        F v = load_part(x + i, n);
        return weight ? mul(mul(v, set_f(factor)), load_part(weight + i, n)) : v;
    }
};

struct ActBlock {                   // 32 activations as int8: x = d * q
    int8_t q[32];
    float d;
    float total;                    // d * sum of q
    int32_t sum[2];                 // of q, by halves
};

static inline void quantize(F x0, F x1, ActBlock* out) {
    float highest = max_f(max(abs(x0), abs(x1)));
    // 0, or NaN where an element is not finite: what is wrong must show in the logits, not vanish in a code.
    float poison = sum_f(add(mul(x0, set_f(0.0f)), mul(x1, set_f(0.0f))));
    F inverse = set_f(highest > 0.0f ? 127.0f / highest : 0.0f);
    I q0 = round_i(mul(x0, inverse)), q1 = round_i(mul(x1, inverse));
    store_low_b(out->q, q0);
    store_low_b(out->q + 16, q1);
    out->sum[0] = sum_i(q0);
    out->sum[1] = sum_i(q1);
    out->d = highest / 127.0f + poison;
    out->total = out->d * static_cast<float>(out->sum[0] + out->sum[1]);
}

// -- where prepared rows lie: in tiles, in which the elements that are read together lie together --

struct Tiles {                      // n rows: tiles of kBigTile, then of kMidTile, or one of 1 where one row is left
    int n_big, n_rest, rest_width;
    explicit Tiles(int n) : n_big(n / kBigTile), n_rest(0), rest_width(kMidTile) {
        int rest = n % kBigTile;
        if (rest == 1) rest_width = 1;
        n_rest = (rest + rest_width - 1) / rest_width;
    }
    int count() const { return n_big + n_rest; }
    int width(int tile) const { return tile < n_big ? kBigTile : rest_width; }
    int first_row(int tile) const {     // also the rows that lie before the tile
        return tile < n_big ? tile * kBigTile : n_big * kBigTile + (tile - n_big) * rest_width;
    }
    int padded() const { return first_row(count()); }
    int tile_of(int row) const {
        return row < n_big * kBigTile ? row / kBigTile : n_big + (row - n_big * kBigTile) / rest_width;
    }
};

enum ActForm : uint32_t { kActInt8 = 1, kActF32 = 2, kActBf16 = 4 };

static inline uint32_t act_form(int kind) {
    if (!is_float_kind(kind)) return kActInt8;
    return kHasBf16Dot && kind == kKindBF16 ? kActBf16 : kActF32;
}

struct Acts {                       // the prepared rows, one area for each form that is in use
    ActBlock* int8 = nullptr;       // tile after tile: (cols / 32, width) blocks
    float* f32 = nullptr;           // (cols, width)
    uint32_t* bf16 = nullptr;       // (cols / 2, width) pairs
    int cols = 0;

    static size_t row_bytes(int cols, uint32_t forms) {
        size_t total = 0;
        if (forms & kActInt8) total += (cols / 32) * sizeof(ActBlock);
        if (forms & kActF32) total += static_cast<size_t>(cols) * 4;
        if (forms & kActBf16) total += static_cast<size_t>((cols + 1) / 2) * 4;
        return total;
    }
    Acts(uint8_t* memory, int n, int n_cols, uint32_t forms) : cols(n_cols) {
        size_t rows = Tiles(n).padded();
        if (forms & kActInt8) {
            int8 = reinterpret_cast<ActBlock*>(memory);
            memory += rows * (cols / 32) * sizeof(ActBlock);
        }
        if (forms & kActF32) {
            f32 = reinterpret_cast<float*>(memory);
            memory += rows * cols * 4;
        }
        if (forms & kActBf16) bf16 = reinterpret_cast<uint32_t*>(memory);
    }

    void prepare(const Tiles& tiles, int row, const RowReader& x) const {
        int tile = tiles.tile_of(row), width = tiles.width(tile), before = tiles.first_row(tile), at = row - before;
        if (int8) {
            ActBlock* out = int8 + before * (cols / 32) + at;
            for (int i = 0; i < cols; i += 32, out += width) quantize(x(i), x(i + 16), out);
        }
        if (f32) scatter(f32 + static_cast<size_t>(before) * cols + at, width, x);
        if (bf16) scatter_pairs(bf16 + static_cast<size_t>(before) * ((cols + 1) / 2) + at, width, x);
    }
    void zero(const Tiles& tiles, int row) const {
        static const float none[16] = {};
        int tile = tiles.tile_of(row), width = tiles.width(tile), before = tiles.first_row(tile), at = row - before;
        if (int8)
            for (int b = 0; b < cols / 32; ++b) int8[before * (cols / 32) + b * width + at] = ActBlock{};
        for (int i = 0; f32 && i < cols; ++i) f32[static_cast<size_t>(before) * cols + i * width + at] = none[0];
        for (int i = 0; bf16 && i < (cols + 1) / 2; ++i)
            bf16[static_cast<size_t>(before) * ((cols + 1) / 2) + i * width + at] = 0;
    }

private:
    void scatter(float* out, int width, const RowReader& x) const {
        float lanes[16];
        for (int i = 0; i < cols; i += 16) {
            store_f(lanes, x(i));
            for (int j = 0; j < 16 && i + j < cols; ++j) out[static_cast<size_t>(i + j) * width] = lanes[j];
        }
    }
    void scatter_pairs(uint32_t* out, int width, const RowReader& x) const {
        uint16_t lanes[16];
        for (int i = 0; i < cols; i += 16) {
            store_bf16(lanes, x(i));        // zeros past the end
            for (int j = 0; j < 16 && i + j < cols; j += 2)
                out[static_cast<size_t>(i + j) / 2 * width] = lanes[j] | static_cast<uint32_t>(lanes[j + 1]) << 16;
        }
    }
};

}}  // namespace gristmill::GM_LEVEL
