// Operators that keep states of sequences.
#include "check.h"

namespace gristmill {

namespace {

struct Rows {                       // sequences of one token, of none of its own to go on from, and of several
    std::vector<int32_t> starts{0, 1, 3, 20}, reads{3, -1, 2}, writes{3, 0, 1};
    static constexpr int n = 20, n_states = 4;
    StateRows rows() const { return {starts.data(), reads.data(), writes.data(), 3}; }
};

Floats joined(Floats x, const Floats& y) {
    x.insert(x.end(), y.begin(), y.end());
    return x;
}

Floats short_conv(Context& c, const Floats& x, int channels, int width) {
    const Rows seqs;
    Data data;
    Floats weight = data.floats(width * channels), bias = data.floats(channels), out(x.size());
    Floats state = data.floats(static_cast<size_t>(Rows::n_states) * (width - 1) * channels);
    ShortConvArgs a{x.data(), weight.data(), bias.data(), state.data(), out.data(), channels, seqs.rows(), Rows::n, channels,
                    width, 1, 0};
    Program program;
    emit_short_conv(c, a, program);
    run(c, program);
    return joined(out, state);
}

Floats ssd_scan(Context& c, const Floats& x, int n_heads, int head_dim, int n_groups, int d_state) {
    const Rows seqs;
    Data data;
    Floats dt = data.floats(Rows::n * n_heads), b = data.floats(Rows::n * n_groups * d_state), out(x.size());
    Floats decay(n_heads, -0.5f), skip = data.floats(n_heads);
    Floats state = data.floats(static_cast<size_t>(Rows::n_states) * n_heads * d_state * head_dim);
    SsdArgs a{x.data(), dt.data(), b.data(), b.data(), decay.data(), skip.data(), skip.data(), state.data(), out.data(),
              n_heads * head_dim, n_heads, n_groups * d_state, n_groups * d_state, seqs.rows(), n_heads, head_dim, n_groups,
              d_state};
    Program program;
    emit_ssd_scan(c, a, program);
    run(c, program);
    return joined(out, state);
}

Floats selective_scan(Context& c, const Floats& x, int channels, int d_state) {
    const Rows seqs;
    Data data;
    Floats dt = data.floats(Rows::n * channels), b = data.floats(Rows::n * d_state), out(x.size());
    Floats decay(static_cast<size_t>(d_state) * channels, -0.5f), skip = data.floats(channels);
    Floats state = data.floats(static_cast<size_t>(Rows::n_states) * d_state * channels);
    SelectiveArgs a{x.data(), dt.data(), b.data(), b.data(), decay.data(), skip.data(), state.data(), out.data(),
                    channels, channels, d_state, d_state, seqs.rows(), channels, d_state};
    Program program;
    emit_items(c, c.level.selective_scan, a, 3 * ((channels + 15) / 16), 1, program);
    run(c, program);
    return joined(out, state);
}

Floats delta_scan(Context& c, const Floats& v, int n_k_heads, int n_v_heads, int k_dim, int v_dim, bool per_key) {
    const Rows seqs;
    Data data;
    const int keys = n_k_heads * k_dim, decay_dim = per_key ? k_dim : 1, decays = n_v_heads * decay_dim;
    Floats q = data.floats(Rows::n * keys), k = data.floats(q.size()), decay = data.floats(Rows::n * decays);
    Floats beta = data.floats(Rows::n * n_v_heads), bias = data.floats(decays), scale(n_v_heads, -0.5f), out(v.size());
    Floats state = data.floats(static_cast<size_t>(Rows::n_states) * n_v_heads * k_dim * v_dim);
    DeltaArgs a{q.data(), k.data(), v.data(), decay.data(), beta.data(), bias.data(), scale.data(), state.data(), seqs.rows(),
                nullptr, out.data(), keys, keys, n_v_heads * v_dim, decays, n_v_heads, 1e-6f, n_k_heads, n_v_heads, k_dim,
                v_dim, decay_dim, per_key};
    Program program;
    emit_delta(c, a, Rows::n, program);
    run(c, program);
    return joined(out, state);
}

}  // namespace

void test_states(Context& level, Context& portable, Report& report) {
    Data data;
    const std::string name = level.level.name;
    for (int channels : {1, 15, 64, 577, 1040})
        for (int width : {1, 2, 4, 16}) {
            Floats x = data.floats(static_cast<size_t>(Rows::n) * channels);
            std::string what = name + " short convolution " + std::to_string(channels) + "x" + std::to_string(width);
            report.check(same(short_conv(level, x, channels, width), short_conv(portable, x, channels, width)), what);
        }
    for (int head_dim : {1, 16, 33, 64, 80})
        for (int d_state : {1, 7, 16}) {
            Floats x = data.floats(static_cast<size_t>(Rows::n) * 4 * head_dim);
            std::string what = name + " scan " + std::to_string(head_dim) + "x" + std::to_string(d_state);
            report.check(same(ssd_scan(level, x, 4, head_dim, 2, d_state), ssd_scan(portable, x, 4, head_dim, 2, d_state)), what);
            Floats y = selective_scan(level, x, 4 * head_dim, d_state);
            report.check(same(y, selective_scan(portable, x, 4 * head_dim, d_state)), what + " selective");
        }
    for (int k_dim : {1, 4, 18, 128})
        for (int v_dim : {1, 16, 33, 64})
            for (bool per_key : {false, true}) {
                Floats v = data.floats(static_cast<size_t>(Rows::n) * 6 * v_dim);
                std::string what = name + " delta rule " + std::to_string(k_dim) + "x" + std::to_string(v_dim);
                Floats y = delta_scan(level, v, 2, 6, k_dim, v_dim, per_key);
                report.check(same(y, delta_scan(portable, v, 2, 6, k_dim, v_dim, per_key)), what);
            }
}

}  // namespace gristmill
