// What the Python methods of the module share: contexts and programs in capsules, arguments, running or appending.
#pragma once
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdarg>

#include "emit.h"

#define GM_OPERATOR(name) \
    {#name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(name)), METH_VARARGS | METH_KEYWORDS, nullptr}

namespace gristmill {

using ProgramRef = std::shared_ptr<Program>;

constexpr const char* kContextName = "gristmill.cpu.context";
constexpr const char* kProgramName = "gristmill.cpu.program";

template <class T> void destroy(PyObject* capsule) {
    delete static_cast<T*>(PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule)));
}

inline Context* context_of(PyObject* object) { return static_cast<Context*>(PyCapsule_GetPointer(object, kContextName)); }

inline PyObject* run_program(Context& context, ProgramRef program) {
    Py_BEGIN_ALLOW_THREADS
    context.pool.run(std::move(program));
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

// Calls emit(context, phases) and runs the phases, or appends them to the program.
template <class Emit> PyObject* finish(PyObject* context_object, PyObject* program_object, Emit emit) {
    Context* context = context_of(context_object);
    if (!context) return nullptr;
    if (program_object == Py_None) {
        auto program = std::make_shared<Program>();
        emit(*context, *program);
        return run_program(*context, std::move(program));
    }
    auto* program = static_cast<ProgramRef*>(PyCapsule_GetPointer(program_object, kProgramName));
    if (!program) return nullptr;
    emit(*context, **program);
    Py_RETURN_NONE;
}

template <class T> T* at(Py_ssize_t address) { return reinterpret_cast<T*>(address); }

inline bool parse(PyObject* args, PyObject* keywords, const char* format, const char* const* names, ...) {
    va_list targets;
    va_start(targets, names);
    int ok = PyArg_VaParseTupleAndKeywords(args, keywords, format, const_cast<char**>(names), targets);
    va_end(targets);
    return ok != 0;
}

// The operators of module_states.cpp.
PyObject* short_conv(PyObject*, PyObject* args, PyObject* keywords);
PyObject* ssd_scan(PyObject*, PyObject* args, PyObject* keywords);
PyObject* selective_scan(PyObject*, PyObject* args, PyObject* keywords);
PyObject* delta_scan(PyObject*, PyObject* args, PyObject* keywords);

}  // namespace gristmill
