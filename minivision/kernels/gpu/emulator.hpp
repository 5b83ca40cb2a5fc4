// CUDA on a CPU, for kernels that are to be read, tested and taken apart without a GPU.
//
// The blocks of a grid run one after the other. The threads of a block are fibres: each has a stack of its own, runs until
// it comes to __syncthreads() and hands over to the next. When all have come there, all go on. So a kernel that forgets
// a barrier computes nonsense here as well, in this order of the threads or in the other, and always the same nonsense; a barrier that some threads never reach is
// counted and reported, where a GPU would hang or worse.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <ucontext.h>
#include <vector>

#define __global__ static
#define __device__ static
#define __restrict__
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("shared_memory")))     // one block at a time: one copy of it is enough
extern "C" char __start_shared_memory[] __attribute__((weak)), __stop_shared_memory[] __attribute__((weak));

struct dim3 { unsigned x = 1, y = 1, z = 1; };
static dim3 threadIdx, blockIdx, blockDim, gridDim;
using std::max; using std::min;

namespace emulator {

enum State { RUNNING, AT_BARRIER, DONE };
struct Fibre { ucontext_t context; dim3 index; State state; std::vector<char> stack; };

static const size_t STACK = 64 << 10;
static std::vector<Fibre> fibres;
static ucontext_t scheduler;
static Fibre* current = nullptr;
static long unexpected = 0;             // barriers in a kernel that was thought to have none
static void (*body)(void*);
static void* arguments;
static bool backwards = false;          // run the fibres in the other order: a race that hides in one shows in the other
static long divergent = 0;              // barriers that only some threads of a block reached

static void start() {
    body(arguments);
    current->state = DONE;
    swapcontext(&current->context, &scheduler);
}

static void barrier() {
    Fibre* me = current;
    if (!me) { unexpected++; return; }
    me->state = AT_BARRIER;
    swapcontext(&me->context, &scheduler);
    current = me;
    threadIdx = me->index;
}

static void poison_shared_memory() {    // 0xff… is NaN as float or double: what nobody wrote gives itself away
    if (__start_shared_memory) memset(__start_shared_memory, 0xff, __stop_shared_memory - __start_shared_memory);
}

static void run_block_with_barriers() {
    unsigned n = 0;
    for (unsigned z = 0; z < blockDim.z; z++)
        for (unsigned y = 0; y < blockDim.y; y++)
            for (unsigned x = 0; x < blockDim.x; x++) {
                Fibre& f = fibres[n++];
                f.index = {x, y, z};
                f.state = RUNNING;
                getcontext(&f.context);
                f.context.uc_stack.ss_sp = f.stack.data();
                f.context.uc_stack.ss_size = STACK;
                f.context.uc_link = nullptr;
                makecontext(&f.context, start, 0);
            }
    while (true) {
        for (unsigned i = 0; i < n; i++) {
            Fibre& f = fibres[backwards ? n - 1 - i : i];
            if (f.state != RUNNING) continue;
            current = &f;
            threadIdx = f.index;
            swapcontext(&scheduler, &f.context);
        }
        unsigned waiting = 0;
        for (unsigned i = 0; i < n; i++) waiting += fibres[i].state == AT_BARRIER;
        if (waiting == 0) { current = nullptr; return; }
        if (waiting < n) divergent++;
        for (unsigned i = 0; i < n; i++)
            if (fibres[i].state == AT_BARRIER) fibres[i].state = RUNNING;
    }
}

static void launch(dim3 grid, dim3 block, bool has_barriers, void (*f)(void*), void* a) {
    gridDim = grid, blockDim = block, body = f, arguments = a;
    unsigned n = block.x * block.y * block.z;
    if (has_barriers) while (fibres.size() < n) { fibres.emplace_back(); fibres.back().stack.resize(STACK); }
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                blockIdx = {x, y, z};
                poison_shared_memory();
                if (has_barriers) { run_block_with_barriers(); continue; }
                for (unsigned c = 0; c < block.z; c++)
                    for (unsigned b = 0; b < block.y; b++)
                        for (unsigned a_ = 0; a_ < block.x; a_++) { threadIdx = {a_, b, c}; f(a); }
            }
}

}  // namespace emulator

static inline void __syncthreads() { emulator::barrier(); }
template <class T> static inline T __ldg(const T* p) { return *p; }
template <class T> static inline T atomicAdd(T* p, T value) { T old = *p; *p = old + value; return old; }
template <class T> static inline T atomicOr(T* p, T value) { T old = *p; *p = old | value; return old; }

extern "C" void emulator_order(int backwards) { emulator::backwards = backwards; }
extern "C" long emulator_unexpected() { long n = emulator::unexpected; emulator::unexpected = 0; return n; }
extern "C" long emulator_divergent() { long n = emulator::divergent; emulator::divergent = 0; return n; }
