// The arguments of every operator, as plain numbers and addresses. Sizes are in elements, strides too.
// n: tokens (rows). All activations are float32.
#pragma once
#include <cstdint>

namespace gristmill {

constexpr int kMaxMatrices = 4, kMaxHeadDim = 1024;

enum Activation : int32_t { kNone = 0, kSilu = 1, kGelu = 2 };

struct Matrix {                 // packed weight (rows, cols) and where its product goes
    const uint8_t* data;        // panels of 16 rows, see layouts.h
    const float* bias;          // (rows,) or null
    float* out;                 // (n, rows)
    int64_t out_stride;
    int64_t panel_bytes;
    int32_t kind;
    int32_t rows;
};

// out_i = norm(x) W_i^T + bias_i, or with an activation: out_0 = activation(product 0) * (product 1).
struct LinearArgs {
    const float* x;             // (n, cols)
    int64_t x_stride;
    const float* norm;          // (cols,) weight of an RMS norm that x goes through first, or null
    const float* residual;      // (n, rows of matrix 0) added to the result, or null
    int64_t residual_stride;
    uint8_t* acts;              // room for the prepared rows of all threads, or null: each thread prepares its own
    float eps;
    int32_t n, cols, n_matrices;
    Activation activation;
    int32_t block_rows;         // tokens of one item, a multiple of the level's largest tile
    Matrix matrices[kMaxMatrices];
};

// Pair i meets expert experts[i] of the stack: out (n, rows). Pairs are ordered by expert first.
struct ExpertArgs {
    const float* x;             // (tokens, slots, cols), a row for each pair
    int64_t x_stride, slot_stride;  // between tokens, and between slots: 0 where they read the same row
    const int64_t* experts;     // (n,), or null: slot i meets expert i
    int32_t* order;             // room for n + 3 * (n_experts + 1) numbers
    uint8_t* acts;              // room for n + 3 * min(n, n_experts) prepared rows
    float* out;                 // (n, rows)
    const uint8_t* data;        // (n_experts) packed matrices
    int64_t expert_bytes, panel_bytes;
    int32_t kind, rows, cols, n, n_experts, slots;
};

// One adapter's part for one weight (rows, cols): what it adds is B A x. A rank of 0: it has none.
struct LowRank {
    const uint8_t* a;           // (rank / 4, cols / 16 rounded up, 4, 16); of an embedding (its rows, rank)
    const uint8_t* b;           // (rows / 32 rounded up, rank, 32): B transposed, in panels of 32 rows
    int64_t rank;               // a multiple of 4
    int64_t halves;             // 1: of float16, 0: of float32
};

struct LoraTarget {
    const LowRank* adapters;    // by adapter id
    float* out;                 // (n, rows), which is added to
    int64_t out_stride;
    int32_t rows;
};

// out_t += B A norm(x) with the matrices of each row's adapter. With experts, those of its expert in a stack of them;
// with ids, A has a row for each id and there is no x.
struct LoraArgs {
    const float* x;             // (n_inputs, cols); row i reads row i / rows_per_input
    const float* norm;          // (cols,) weight of an RMS norm that x goes through first, or null
    const int64_t* ids;         // (n,), or null
    const int64_t* experts;     // (n,), or null
    const int32_t* adapter_ids; // row i has adapter_ids[i / rows_per_token]; below 0: none
    float* inner;               // room for (n, n_targets, max_rank)
    int64_t x_stride;
    float eps;
    int32_t n, cols, rows_per_input, rows_per_token, n_targets, max_rank;
    int32_t n_splits;           // of one row's ranks
    LoraTarget targets[kMaxMatrices];
};

struct EmbeddingArgs {
    const int64_t* ids;         // (n,); a row of NaN for an id that is not a row
    const uint8_t* data;
    float* out;                 // (n, cols)
    int64_t panel_bytes;
    int32_t kind, rows, cols;
};

// out = rms_norm(x) * weight, plus residual where that is not null.
struct NormArgs {
    const float* x;
    const float* weight;
    const float* residual;
    float* out;
    int64_t x_stride, residual_stride, out_stride;
    int32_t cols;
    float eps;
};

// out = (x - mean) / sqrt(variance + eps) * weight + bias.
struct LayerNormArgs {
    const float* x;
    const float* weight;        // (cols,)
    const float* bias;
    float* out;
    int64_t x_stride, out_stride;
    int32_t cols;
    float eps;
};

enum PointOp : int32_t { kAdd, kMul, kSoftcap, kGatedSilu, kGatedGelu, kGatedGeluErf, kClamp, kGatedRelu, kGatedReluSqr,
                       kGatedSigmoid, kGatedOaiSwiglu };

struct PointArgs {              // out (n, cols) = op(x, y); a stride of 0 repeats one row, y_cols 1 one number
    const float* x;
    const float* y;
    float* out;
    int64_t x_stride, y_stride, out_stride;
    int32_t cols, y_cols;
    PointOp op;
    float factor;               // without y
};

struct GatherArgs {
    const float* x;             // (m, cols)
    const int64_t* rows;        // (n,)
    float* out;                 // (n, cols)
    int64_t x_stride;
    int32_t cols;
};

struct AnglesArgs {
    const int64_t* positions;   // (n,)
    const double* inv_freq;     // (half,)
    float* cos;                 // (n, half)
    float* sin;
    int32_t half;
    float magnitude;
};

struct ConcatArgs {             // out (n, heads, x_cols + y_cols); strides between tokens and between heads
    const float *x, *y;
    float* out;
    int64_t x_stride, x_head, y_stride, y_head;
    int32_t heads, x_cols, y_cols;
};

enum KvType : int32_t { kF32 = 0, kF16 = 1, kBf16 = 2, kQ8 = 3, kQ4 = 4 };

// Normalises (where q_norm is not null) and turns q and k, writes k and v to the cache.
struct RopeStoreArgs {
    const float *q, *k, *v;     // (n, heads, dim) with a stride between tokens, and of v between heads
    int64_t q_stride, k_stride, v_stride, v_head;
    const float *cos, *sin;     // (n, half)
    const float *q_norm, *k_norm;
    const int64_t* slots;       // (n,)
    uint8_t *k_cache, *v_cache;
    int64_t k_page, v_page;     // bytes from one page to the next
    float* q_out;               // (n, n_heads, k_dim)
    float eps;
    int32_t n_heads, n_kv_heads, k_dim, v_dim, half, interleaved;
    int32_t norm_last;          // they are turned first
    KvType kv_type;
};

struct AttentionArgs {
    const float* q;             // (n, n_heads, k_dim)
    const uint8_t *k_cache, *v_cache;
    int64_t k_page, v_page;     // bytes from one page to the next
    const int32_t* seq_starts;  // (n_seqs + 1,)
    const int32_t* page_table;  // (n_seqs, max_pages)
    const int32_t* context_lens;// (n_seqs,)
    float* out;                 // (n, n_heads, v_dim)
    const float* slopes;        // (n_heads,) times how far a key is behind is taken off its score, or null
    const float* sinks;         // (n_heads,) scores of a key without a value that all see, or null
    float* partial;             // room for n_seqs * n_kv_heads * n_parts * n_splits states, with one_token only
    float scale, softcap;
    int32_t one_token;          // each sequence has one token: items are splits of its keys
    int32_t causal;             // 0: a token sees those after it, too, and half of the window to either side
    int32_t n_seqs, max_pages, n_splits, n_heads, n_kv_heads, k_dim, v_dim, window;
    int32_t chunk;              // tokens see their own chunk of so many only; 0: there are none
    int32_t shared;             // the values are the last v_dim elements of the keys, and v_cache is not read
    int32_t n_parts;            // the heads that share keys are served in so many parts; filled in by emit_attention
    KvType kv_type;
};

enum Gating : int32_t { kSoftmax, kSigmoid, kSoftmaxOfChosen };
constexpr int kMaxExperts = 1024, kMaxGroups = 64;

struct RouteArgs {
    const float* logits;        // (n, n_experts)
    const float* bias;          // (n_experts,) added where experts are chosen, or null
    float* weights;             // (n, n_used)
    int64_t* experts;           // (n, n_used)
    int64_t logits_stride;
    float scale;                // of the weights
    Gating gating;
    int32_t n_experts, n_used, normalize;
    int32_t n_groups, n_groups_used;    // experts come from the best groups only; 1: there are none
};

struct CombineArgs {
    const float* y;             // (n, n_used, cols)
    const float* weights;       // (n, n_used)
    float* out;                 // (n, cols)
    int32_t n_used, cols;
};

struct StateRows {              // of each of the n sequences
    const int32_t* starts;      // (n + 1,) its first token
    const int32_t* reads;       // (n,) the row of the states that it goes on from; below 0: from zeros
    const int32_t* writes;      // (n,) the row that its state goes to
    int32_t n;
};

constexpr int kMaxConvWidth = 16;

// out_t = bias + sum over j of weight_j x_(t - width + 1 + j), channel by channel. A state is the last inputs.
struct ShortConvArgs {
    const float* x;             // (n, channels)
    const float* weight;        // (width, channels)
    const float* bias;          // (channels,) or null
    float* state;               // (n_states, width - 1, channels)
    float* out;                 // (n, channels)
    int64_t x_stride;
    StateRows seqs;
    int32_t n, channels, width, silu;
    int32_t one_token;          // each sequence has one token
};

// state = state * exp(dt a) + dt x B, y = state C + d x, with dt = softplus(dt + bias): see kernels/scan.h.
struct SsdArgs {                // Mamba 2
    const float* x;             // (n, n_heads, head_dim) with a stride between tokens
    const float* dt;            // (n, n_heads)
    const float *b, *c;         // (n, n_groups, d_state)
    const float *a, *d, *dt_bias;   // (n_heads,); dt_bias may be null
    float* state;               // (n_states, n_heads, d_state, head_dim)
    float* out;                 // (n, n_heads, head_dim)
    int64_t x_stride, dt_stride, b_stride, c_stride;
    StateRows seqs;
    int32_t n_heads, head_dim, n_groups, d_state;
};

struct SelectiveArgs {          // Mamba
    const float* x;             // (n, channels)
    const float* dt;            // (n, channels), without a bias
    const float *b, *c;         // (n, d_state)
    const float* a;             // (d_state, channels)
    const float* d;             // (channels,)
    float* state;               // (n_states, d_state, channels)
    float* out;                 // (n, channels)
    int64_t x_stride, dt_stride, b_stride, c_stride;
    StateRows seqs;
    int32_t channels, d_state;
};

// A gated delta network over the tokens of each sequence, see kernels/delta.h.
struct DeltaArgs {
    const float *q, *k, *v;     // (n, heads, dim) with a stride between tokens
    const float* decay;         // (n, n_v_heads, decay_dim), before its activation, as beta
    const float* beta;          // (n, n_v_heads)
    const float* decay_bias;    // (n_v_heads, decay_dim)
    const float* decay_scale;   // (n_v_heads,)
    float* state;               // (n_states, n_v_heads, k_dim, v_dim)
    StateRows seqs;
    float* ready;               // room for what is made ready of n tokens
    float* out;                 // (n, n_v_heads, v_dim)
    int64_t q_stride, k_stride, v_stride, decay_stride, beta_stride;
    float eps;                  // of the norms of q and k
    int32_t n_k_heads, n_v_heads, k_dim, v_dim;
    int32_t decay_dim;          // k_dim, or 1: all elements of a key share a decay
    int32_t tiled;              // value head h reads key head h % n_k_heads, else h / (n_v_heads / n_k_heads)
};

struct TopKArgs {               // the k highest of x (n,), highest first, and where they are; 0 < k <= n
    const float* x;
    const uint32_t* bits;       // what is not set counts as minus infinity; null: all is set
    float* values;              // (k,)
    int64_t* ids;
    int32_t n, k;
};

struct EncodeArgs {             // rows of numbers (n, cols) to blocks
    const float* x;
    const float* importance;    // of each column, from row to row importance_stride apart; or null
    uint8_t* out;               // (n, row_bytes)
    int64_t importance_stride, cols, row_bytes;
    int32_t format, block_elems, block_bytes;   // format: its type number in GGUF
};

struct MaskedArgs {             // out (n,) = x where its bit is set, else minus infinity
    const float* x;
    const uint32_t* bits;       // (ceil(n / 32),), the lowest bit first
    float* out;
    int32_t n;
};

struct PackArgs {
    const uint8_t* blocks;      // (rows, row_bytes) as in the file
    uint8_t* panels;
    int64_t row_bytes, panel_bytes;
    int32_t kind, rows, cols;
    int32_t signed_offset;      // filled in by emit_pack
};

}  // namespace gristmill
