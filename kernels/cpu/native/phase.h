// What the worker threads run: phases. An operator is one or two of them, a program is a list.
//
// A phase has items that may be computed in any order by any thread; the next phase begins when all are done.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gristmill {

constexpr int64_t kPanel = 16;      // rows of a weight that lie interleaved; also the tokens of a cache page
constexpr size_t kMaxArgs = 512;    // bytes of the largest argument struct in args.h

struct Scratch {                    // memory of one thread, valid during one phase
    uint8_t* data;
};

using BeginFn = void (*)(const void* args, Scratch scratch);
using CountFn = int64_t (*)(const void* args);
using RunFn = void (*)(const void* args, Scratch scratch, int64_t first, int64_t last);

struct Phase {
    BeginFn begin;                  // once per thread before its first item; may be null
    RunFn run;
    CountFn count;                  // how many items there are in this run, from the data; may be null: n_items
    int64_t n_items;
    int64_t grain;                  // items that a thread claims at once
    size_t scratch_bytes;           // what begin and run need
    alignas(16) unsigned char args[kMaxArgs];
};

}  // namespace gristmill
