// Short causal convolutions, each channel for itself, and the last inputs that a sequence keeps for them.
#pragma once

namespace gristmill { namespace GM_LEVEL {

constexpr int kConvChannels = 512;      // of one item

static inline int sequence_of(const StateRows& seqs, int64_t token) {
    int i = 0;
    while (seqs.starts[i + 1] <= token) ++i;
    return i;
}

// Input `at` of sequence `seq`, counted from the first of its state's width - 1 inputs. Null for zeros.
static inline const float* conv_input(const ShortConvArgs& a, int seq, int64_t at) {
    const int kept = a.width - 1;
    if (at >= kept) return a.x + (a.seqs.starts[seq] + at - kept) * a.x_stride;
    const int64_t row = a.seqs.reads[seq];
    return row < 0 ? nullptr : a.state + (row * kept + at) * a.channels;
}

static inline void convolve(const ShortConvArgs& a, int64_t token, int seq, int first, int last) {
    const float* inputs[kMaxConvWidth];
    for (int j = 0; j < a.width; ++j) inputs[j] = conv_input(a, seq, token - a.seqs.starts[seq] + j);
    float* out = a.out + token * a.channels;
    auto channels = [&](int i, auto load) {
        F y = a.bias ? load(a.bias + i) : set_f(0.0f);
        for (int j = 0; j < a.width; ++j)       // from the oldest on
            y = fma(inputs[j] ? load(inputs[j] + i) : set_f(0.0f), load(a.weight + static_cast<int64_t>(j) * a.channels + i), y);
        return a.silu ? silu(y) : y;
    };
    int i = first;
    for (; i + 16 <= last; i += 16) store_f(out + i, channels(i, [](const float* p) { return load_f(p); }));
    if (const int rest = last - i; rest > 0)
        store_part(out + i, channels(i, [rest](const float* p) { return load_part(p, rest); }), rest);
}

// The rows move towards the oldest, which is written first: a state may be written where it is read.
static inline void keep_inputs(const ShortConvArgs& a, int seq, int first, int last) {
    const int64_t n_tokens = a.seqs.starts[seq + 1] - a.seqs.starts[seq];
    const size_t n_bytes = static_cast<size_t>(last - first) * 4;
    for (int r = 0; r < a.width - 1; ++r) {
        const float* input = conv_input(a, seq, n_tokens + r);
        float* kept = a.state + (static_cast<int64_t>(a.seqs.writes[seq]) * (a.width - 1) + r) * a.channels + first;
        if (input) __builtin_memmove(kept, input + first, n_bytes);
        else __builtin_memset(kept, 0, n_bytes);
    }
}

// fn(which, first channel, end) for items that are blocks of channels of tokens, or of sequences.
template <class Fn> static inline void for_channels(const ShortConvArgs& a, int64_t first, int64_t last, Fn fn) {
    const int n_blocks = (a.channels + kConvChannels - 1) / kConvChannels;
    for (int64_t i = first; i < last; ++i) {
        const int begin = static_cast<int>(i % n_blocks) * kConvChannels, end = begin + kConvChannels;
        fn(i / n_blocks, begin, end < a.channels ? end : a.channels);
    }
}

// Items: tokens, by blocks of channels. With one token for each sequence, they see to its state as well.
static void short_conv(const void* args, Scratch, int64_t first, int64_t last) {
    const ShortConvArgs& a = *static_cast<const ShortConvArgs*>(args);
    for_channels(a, first, last, [&](int64_t token, int begin, int end) {
        const int seq = a.one_token ? static_cast<int>(token) : sequence_of(a.seqs, token);
        convolve(a, token, seq, begin, end);
        if (a.one_token) keep_inputs(a, seq, begin, end);
    });
}

// Items: sequences, by blocks of channels. After all tokens: these read the states.
static void short_conv_state(const void* args, Scratch, int64_t first, int64_t last) {
    const ShortConvArgs& a = *static_cast<const ShortConvArgs*>(args);
    for_channels(a, first, last, [&](int64_t seq, int begin, int end) { keep_inputs(a, static_cast<int>(seq), begin, end); });
}

}}  // namespace gristmill::GM_LEVEL
