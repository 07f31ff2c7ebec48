// Python methods of the operators that keep states of sequences, see module.cpp.
#include "binding.h"

namespace gristmill {

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

}  // namespace gristmill
