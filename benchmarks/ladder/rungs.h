// The ladders, from the lowest rung.
#pragma once
#include "elementwise.cuh"
#include "mma_1_fragments.cuh"
#include "mma_2_shared.cuh"
#include "mma_3_async.cuh"
#include "mma_4_registers.cuh"
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
#include "wgmma_1_single.cuh"
#include "wgmma_2_tile.cuh"
#include "wgmma_3_ring.cuh"
#include "wgmma_4_consumers.cuh"
#include "wgmma_5_queue.cuh"
#include "wgmma_6_persistent.cuh"
#include "wgmma_7_cluster.cuh"
#include "wgmma_8_store.cuh"

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
inline const Rung<MatmulBf16> kBf16Mma[] = {
    {"mma fragments", mma_fragments::run},
    {"mma shared", mma_shared::run},
    {"mma async", mma_async::run},
    {"mma registers", mma_registers::run},
};
inline const Rung<MatmulBf16> kBf16Wgmma[] = {
    {"wgmma single", wgmma_single::run},   {"wgmma tile", wgmma_tile::run},
    {"wgmma ring", wgmma_ring::run},       {"wgmma consumers", wgmma_consumers::run},
    {"wgmma queue", wgmma_queue::run},     {"wgmma persistent", wgmma_persistent::run},
    {"wgmma cluster", wgmma_cluster::run}, {"wgmma store", wgmma_store::run},
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
