// The ladders, from the lowest rung.
#pragma once
#include "elementwise.cuh"
#include "simt_1_naive.cuh"
#include "simt_2_coalesced.cuh"
#include "simt_3_shared.cuh"
#include "simt_4_thread_column.cuh"
#include "simt_5_thread_tile.cuh"
#include "simt_6_vectors.cuh"
#include "simt_7_warp_tile.cuh"
#include "simt_8_async.cuh"
#include "softmax.cuh"
#include "sum.cuh"

namespace steep::cuda::ladder {

template <class Problem>
struct Rung {
  const char* name;
  void (*run)(const Problem&);  // queues it on the current stream
  int (*longest)() = nullptr;   // row that it takes, where there is a limit
};

inline const Rung<Matmul> kSimt[] = {
    {"simt naive", simt_naive::run},
    {"simt coalesced", simt_coalesced::run},
    {"simt shared", simt_shared::run},
    {"simt thread column", simt_thread_column::run},
    {"simt thread tile", simt_thread_tile::run},
    {"simt vectors", simt_vectors::run},
    {"simt warp tile", simt_warp_tile::run},
    {"simt async", simt_async::run},
};
inline const Rung<Relu> kRelu[] = {
    {"relu scalar", relu_scalar::run},
    {"relu vectors", relu_vectors::run},
    {"relu in flight", relu_in_flight::run},
};
inline const Rung<Sum> kSum[] = {
    {"sum tree", sum_tree::run},
    {"sum shuffles", sum_shuffles::run},
    {"sum in flight", sum_in_flight::run},
};
inline const Rung<Softmax> kSoftmax[] = {
    {"softmax three passes", softmax_three_passes::run},
    {"softmax online", softmax_online::run},
    {"softmax registers", softmax_registers::run, [] { return softmax_registers::kLongest; }},
    {"softmax shared", softmax_shared::run, softmax_shared::longest},
};

}  // namespace steep::cuda::ladder
