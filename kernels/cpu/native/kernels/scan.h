// Selective state spaces, token by token: Mamba (Gu and Dao, arXiv:2312.00752) and Mamba 2 (arXiv:2405.21060).
//
//   state = state * exp(dt a) + dt x B,   y = state C + d x
//
// Lanes are channels, so that sums over the state's dimension need no folding; they run in its order, whatever the
// tile. A part of the state stays in registers while it meets the tokens of a tile.
#pragma once

namespace gristmill { namespace GM_LEVEL {

constexpr int kScanTokens = 16;                         // of a tile: a vector of time steps
constexpr int kScanDims = 4;                            // of the state, in registers
constexpr int kScanVectors = kBigTile > 4 ? 4 : 1;      // by so many vectors of channels

// Where a sequence's state comes from, null for zeros, and where it goes.
struct StateAt {
    const float* from;
    float* to;
    StateAt(float* states, const StateRows& seqs, int seq, int64_t size, int64_t offset)
        : from(seqs.reads[seq] < 0 ? nullptr : states + seqs.reads[seq] * size + offset),
          to(states + seqs.writes[seq] * size + offset) {}
};

// -- Mamba 2: a head's channels share their decay --

struct SsdTile {                    // some tokens of one head
    const float *b, *c;             // their first rows of the head's group
    const float *decay;             // (tokens)
    const float *input;             // (tokens, width) dt x
    float* y;                       // (tokens, width)
    int64_t b_stride, c_stride;
    int tokens, width;
};

// Dimensions from n on, channels from i on; `count` of the last vector's channels exist.
template <int kDims, int kVectors>
static inline void ssd_part(const SsdTile& tile, const float* from, float* to, int head_dim, int n, int i, int count) {
    F state[kDims][kVectors];
    const bool whole = kVectors > 1 || count == 16;
    auto load = [&](const float* p) { return whole ? load_f(p) : load_part(p, count); };
    auto at = [&](int k, int v) { return static_cast<int64_t>(n + k) * head_dim + i + 16 * v; };
    for (int k = 0; k < kDims; ++k)
        for (int v = 0; v < kVectors; ++v) state[k][v] = from ? load(from + at(k, v)) : set_f(0.0f);
    for (int t = 0; t < tile.tokens; ++t) {
        const float *b = tile.b + t * tile.b_stride + n, *c = tile.c + t * tile.c_stride + n;
        const float* input = tile.input + t * tile.width + i;
        float* out = tile.y + t * tile.width + i;
        const F decay = set_f(tile.decay[t]);
        F x[kVectors], y[kVectors];
        for (int v = 0; v < kVectors; ++v) x[v] = load_f(input + 16 * v), y[v] = load_f(out + 16 * v);
        for (int k = 0; k < kDims; ++k) {
            const F bk = set_f(b[k]), ck = set_f(c[k]);
            for (int v = 0; v < kVectors; ++v) {
                state[k][v] = fma(x[v], bk, mul(state[k][v], decay));
                y[v] = fma(state[k][v], ck, y[v]);
            }
        }
        for (int v = 0; v < kVectors; ++v) store_f(out + 16 * v, y[v]);
    }
    for (int k = 0; k < kDims; ++k)
        for (int v = 0; v < kVectors; ++v)
            if (whole) store_f(to + at(k, v), state[k][v]);
            else store_part(to + at(k, v), state[k][v], count);
}

template <int kDims>
static inline void ssd_channels(const SsdTile& tile, const float* from, float* to, int head_dim, int n) {
    int i = 0;
    for (; i + 16 * kScanVectors <= head_dim; i += 16 * kScanVectors)
        ssd_part<kDims, kScanVectors>(tile, from, to, head_dim, n, i, 16);
    for (; i < head_dim; i += 16) ssd_part<kDims, 1>(tile, from, to, head_dim, n, i, head_dim - i < 16 ? head_dim - i : 16);
}

// Decays of the tile's tokens from `first` on; inputs, and results that hold d x so far.
static inline void ssd_begin(const SsdArgs& a, int64_t first, int head, int tokens, int width, float* decay, float* input,
                             float* y) {
    float steps[kScanTokens] = {};
    for (int t = 0; t < tokens; ++t) steps[t] = a.dt[(first + t) * a.dt_stride + head] + (a.dt_bias ? a.dt_bias[head] : 0.0f);
    const F dt = softplus(load_f(steps));
    store_f(steps, dt);
    store_f(decay, exp_f(mul(dt, set_f(a.a[head]))));
    for (int t = 0; t < tokens; ++t) {
        const float* x = a.x + (first + t) * a.x_stride + static_cast<int64_t>(head) * a.head_dim;
        const F step = set_f(steps[t]), d = set_f(a.d[head]);
        for_row(a.head_dim, [&](int i, int count) {
            const F v = load_part(x + i, count);
            store_f(input + t * width + i, mul(step, v));
            store_f(y + t * width + i, mul(d, v));
        });
    }
}

// Tokens from `first` on of one head; `room` for inputs and results.
static inline void ssd_tokens(const SsdArgs& a, int64_t first, int tokens, int head, const StateAt& state, float* room) {
    const int width = (a.head_dim + 15) / 16 * 16;
    const int64_t group = head / (a.n_heads / a.n_groups) * static_cast<int64_t>(a.d_state);
    float decay[kScanTokens], *input = room, *y = room + kScanTokens * width;
    ssd_begin(a, first, head, tokens, width, decay, input, y);
    SsdTile tile{a.b + first * a.b_stride + group, a.c + first * a.c_stride + group, decay, input, y, a.b_stride, a.c_stride,
                 tokens, width};
    int n = 0;
    for (; n + kScanDims <= a.d_state; n += kScanDims) ssd_channels<kScanDims>(tile, state.from, state.to, a.head_dim, n);
    for (; n < a.d_state; ++n) ssd_channels<1>(tile, state.from, state.to, a.head_dim, n);
    for (int t = 0; t < tokens; ++t) {
        float* out = a.out + ((first + t) * a.n_heads + head) * a.head_dim;
        for_row(a.head_dim, [&](int i, int count) { store_part(out + i, load_f(y + t * width + i), count); });
    }
}

// Calls fn(first, how many) for the tiles of a sequence's tokens; the state then goes on from where it was written.
template <class Fn> static inline void for_tiles(const StateRows& seqs, int seq, StateAt& state, Fn fn) {
    for (int64_t at = seqs.starts[seq], end = seqs.starts[seq + 1]; at < end; at += kScanTokens) {
        fn(at, static_cast<int>(end - at < kScanTokens ? end - at : kScanTokens));
        state.from = state.to;
    }
}

// Items: heads of sequences.
static void ssd_scan(const void* args, Scratch scratch, int64_t first, int64_t last) {
    const SsdArgs& a = *static_cast<const SsdArgs*>(args);
    const int64_t head_size = static_cast<int64_t>(a.d_state) * a.head_dim;
    for (int64_t item = first; item < last; ++item) {
        const int seq = static_cast<int>(item / a.n_heads), head = static_cast<int>(item % a.n_heads);
        StateAt state(a.state, a.seqs, seq, a.n_heads * head_size, head * head_size);
        for_tiles(a.seqs, seq, state, [&](int64_t at, int tokens) {
            ssd_tokens(a, at, tokens, head, state, reinterpret_cast<float*>(scratch.data));
        });
    }
}

static size_t ssd_scratch(const SsdArgs& a) {
    return 2 * sizeof(float) * kScanTokens * static_cast<size_t>((a.head_dim + 15) / 16 * 16);
}

// -- Mamba: each channel decays by itself --

struct SelectiveTile {              // some tokens of 16 channels, `count` of which exist
    float dt[kScanTokens][16], input[kScanTokens][16], y[kScanTokens][16];
    int64_t first;
    int tokens, channel, count;
};

template <int kDims> static inline void selective_part(const SelectiveArgs& a, SelectiveTile& tile, const float* from, float* to, int n) {
    F state[kDims], decay[kDims];
    for (int k = 0; k < kDims; ++k) {
        const int64_t at = static_cast<int64_t>(n + k) * a.channels + tile.channel;
        state[k] = from ? load_part(from + at, tile.count) : set_f(0.0f);
        decay[k] = load_part(a.a + at, tile.count);
    }
    for (int t = 0; t < tile.tokens; ++t) {
        const float *b = a.b + (tile.first + t) * a.b_stride + n, *c = a.c + (tile.first + t) * a.c_stride + n;
        const F dt = load_f(tile.dt[t]), x = load_f(tile.input[t]);
        F y = load_f(tile.y[t]);
        for (int k = 0; k < kDims; ++k) {
            state[k] = fma(x, set_f(b[k]), mul(state[k], exp_f(mul(dt, decay[k]))));
            y = fma(state[k], set_f(c[k]), y);
        }
        store_f(tile.y[t], y);
    }
    for (int k = 0; k < kDims; ++k) store_part(to + static_cast<int64_t>(n + k) * a.channels + tile.channel, state[k], tile.count);
}

static inline void selective_tokens(const SelectiveArgs& a, SelectiveTile& tile, const StateAt& state) {
    const F d = load_part(a.d + tile.channel, tile.count);
    for (int t = 0; t < tile.tokens; ++t) {
        const F dt = softplus(load_part(a.dt + (tile.first + t) * a.dt_stride + tile.channel, tile.count));
        const F x = load_part(a.x + (tile.first + t) * a.x_stride + tile.channel, tile.count);
        store_f(tile.dt[t], dt);
        store_f(tile.input[t], mul(dt, x));
        store_f(tile.y[t], mul(d, x));
    }
    int n = 0;
    for (; n + kScanDims <= a.d_state; n += kScanDims) selective_part<kScanDims>(a, tile, state.from, state.to, n);
    for (; n < a.d_state; ++n) selective_part<1>(a, tile, state.from, state.to, n);
    for (int t = 0; t < tile.tokens; ++t)
        store_part(a.out + (tile.first + t) * a.channels + tile.channel, load_f(tile.y[t]), tile.count);
}

// Items: sequences, by vectors of channels.
static void selective_scan(const void* args, Scratch, int64_t first, int64_t last) {
    const SelectiveArgs& a = *static_cast<const SelectiveArgs*>(args);
    const int n_vectors = (a.channels + 15) / 16;
    for (int64_t item = first; item < last; ++item) {
        const int seq = static_cast<int>(item / n_vectors);
        SelectiveTile tile;
        tile.channel = static_cast<int>(item % n_vectors) * 16;
        tile.count = a.channels - tile.channel < 16 ? a.channels - tile.channel : 16;
        StateAt state(a.state, a.seqs, seq, static_cast<int64_t>(a.d_state) * a.channels, 0);
        for_tiles(a.seqs, seq, state, [&](int64_t at, int tokens) {
            tile.first = at, tile.tokens = tokens;
            selective_tokens(a, tile, state);
        });
    }
}

}}  // namespace gristmill::GM_LEVEL
