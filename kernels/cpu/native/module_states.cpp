// Python methods of the operators that keep states of sequences, see module.cpp.
#include "binding.h"

namespace gristmill {

namespace {

// What both scans take: tokens (address, stride), then the state, the result and the sequences.
struct ScanAddresses {
    Py_ssize_t x, x_stride, dt, dt_stride, b, b_stride, c, c_stride, a, d, state, starts, reads, writes, out;

    template <class Args> void fill(Args& args) const {
        args.x = at<const float>(x), args.dt = at<const float>(dt);
        args.b = at<const float>(b), args.c = at<const float>(c);
        args.x_stride = x_stride, args.dt_stride = dt_stride;
        args.b_stride = b_stride, args.c_stride = c_stride;
        args.a = at<const float>(a), args.d = at<const float>(d);
        args.state = at<float>(state), args.out = at<float>(out);
        args.seqs.starts = at<const int32_t>(starts);
        args.seqs.reads = at<const int32_t>(reads);
        args.seqs.writes = at<const int32_t>(writes);
    }
};

}  // namespace

PyObject* short_conv(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {"context", "program", "n", "channels", "width", "x", "x_stride", "weight", "bias",
                                        "state", "n_seqs", "seq_starts", "state_reads", "state_writes", "silu", "out",
                                        nullptr};
    PyObject *context, *program;
    Py_ssize_t x, x_stride, weight, bias, state, starts, reads, writes, out_address;
    ShortConvArgs a{};
    if (!parse(args, keywords, "OOiiinnnnninnnin", names, &context, &program, &a.n, &a.channels, &a.width, &x, &x_stride,
               &weight, &bias, &state, &a.seqs.n, &starts, &reads, &writes, &a.silu, &out_address))
        return nullptr;
    if (a.width < 1 || a.width > kMaxConvWidth) {
        PyErr_Format(PyExc_ValueError, "a convolution over %d tokens; 1 to %d are possible", a.width, kMaxConvWidth);
        return nullptr;
    }
    a.x = at<const float>(x);
    a.x_stride = x_stride;
    a.weight = at<const float>(weight);
    a.bias = at<const float>(bias);
    a.state = at<float>(state);
    a.seqs.starts = at<const int32_t>(starts);
    a.seqs.reads = at<const int32_t>(reads);
    a.seqs.writes = at<const int32_t>(writes);
    a.out = at<float>(out_address);
    return finish(context, program, [&](Context& c, Program& out) { emit_short_conv(c, a, out); });
}

PyObject* ssd_scan(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {
        "context", "program", "n_heads", "head_dim", "n_groups", "d_state", "x", "x_stride", "dt", "dt_stride", "b", "b_stride",
        "c", "c_stride", "a", "d", "dt_bias", "state", "n_seqs", "seq_starts", "state_reads", "state_writes", "out", nullptr};
    PyObject *context, *program;
    ScanAddresses s;
    Py_ssize_t dt_bias;
    SsdArgs a{};
    if (!parse(args, keywords, "OOiiiinnnnnnnnnnnninnnn", names, &context, &program, &a.n_heads, &a.head_dim, &a.n_groups,
               &a.d_state, &s.x, &s.x_stride, &s.dt, &s.dt_stride, &s.b, &s.b_stride, &s.c, &s.c_stride, &s.a, &s.d, &dt_bias,
               &s.state, &a.seqs.n, &s.starts, &s.reads, &s.writes, &s.out))
        return nullptr;
    if (a.n_groups < 1 || a.n_heads % a.n_groups) {
        PyErr_Format(PyExc_ValueError, "%d heads do not fall into %d groups", a.n_heads, a.n_groups);
        return nullptr;
    }
    s.fill(a);
    a.dt_bias = at<const float>(dt_bias);
    return finish(context, program, [&](Context& c, Program& out) { emit_ssd_scan(c, a, out); });
}

PyObject* selective_scan(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {
        "context", "program", "channels", "d_state", "x", "x_stride", "dt", "dt_stride", "b", "b_stride", "c", "c_stride", "a",
        "d", "state", "n_seqs", "seq_starts", "state_reads", "state_writes", "out", nullptr};
    PyObject *context, *program;
    ScanAddresses s;
    SelectiveArgs a{};
    if (!parse(args, keywords, "OOiinnnnnnnnnnninnnn", names, &context, &program, &a.channels, &a.d_state, &s.x, &s.x_stride,
               &s.dt, &s.dt_stride, &s.b, &s.b_stride, &s.c, &s.c_stride, &s.a, &s.d, &s.state, &a.seqs.n, &s.starts, &s.reads,
               &s.writes, &s.out))
        return nullptr;
    s.fill(a);
    const int64_t n_items = static_cast<int64_t>(a.seqs.n) * ((a.channels + 15) / 16);
    return finish(context, program, [&](Context& c, Program& out) { emit_items(c, c.level.selective_scan, a, n_items, 1, out); });
}

PyObject* delta_scan(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {
        "context", "program", "n", "q", "q_stride", "k", "k_stride", "v", "v_stride", "decay", "decay_stride", "beta",
        "beta_stride", "decay_bias", "decay_scale", "state", "seq_starts", "state_reads", "state_writes", "out", "eps",
        "n_seqs", "n_k_heads", "n_v_heads", "k_dim", "v_dim", "decay_dim", "tiled", nullptr};
    PyObject *context, *program;
    Py_ssize_t n, q, q_stride, k, k_stride, v, v_stride, decay, decay_stride, beta, beta_stride, bias, scale;
    Py_ssize_t state, starts, reads, writes, out_address;
    DeltaArgs a{};
    if (!parse(args, keywords, "OOnnnnnnnnnnnnnnnnnnfiiiiiii", names, &context, &program, &n, &q, &q_stride, &k, &k_stride,
               &v, &v_stride, &decay, &decay_stride, &beta, &beta_stride, &bias, &scale, &state, &starts, &reads, &writes,
               &out_address, &a.eps, &a.seqs.n, &a.n_k_heads, &a.n_v_heads, &a.k_dim, &a.v_dim, &a.decay_dim, &a.tiled))
        return nullptr;
    a.q = at<const float>(q), a.k = at<const float>(k), a.v = at<const float>(v);
    a.decay = at<const float>(decay), a.beta = at<const float>(beta);
    a.decay_bias = at<const float>(bias), a.decay_scale = at<const float>(scale);
    a.q_stride = q_stride, a.k_stride = k_stride, a.v_stride = v_stride;
    a.decay_stride = decay_stride, a.beta_stride = beta_stride;
    a.state = at<float>(state);
    a.seqs.starts = at<const int32_t>(starts), a.seqs.reads = at<const int32_t>(reads), a.seqs.writes = at<const int32_t>(writes);
    a.out = at<float>(out_address);
    return finish(context, program, [&](Context& c, Program& out) { emit_delta(c, a, n, out); });
}

}  // namespace gristmill
