// One function per room of the module; module.cpp calls them.
#pragma once
#include <pybind11/pybind11.h>

namespace steep {

void register_tensor_type(pybind11::module_& m);  // what steep.Tensor derives from
void register_node_type(pybind11::module_& m);    // recording, and the nodes of the tape
void register_operators(pybind11::module_& m);    // + - * / @
void register_backward(pybind11::module_& m);     // the walk over the tape
void register_watch(pybind11::module_& m);        // detect_anomaly and checkpoint
void register_array(pybind11::module_& m);        // creation, NumPy, views, basic indexing, take
void register_indexing(pybind11::module_& m);     // index arrays, masks, scatters, diagonals
void register_ops(pybind11::module_& m);          // the elementwise and reduction tables
void register_nn(pybind11::module_& m);           // matmul, rows, losses, distances
void register_optimizers(pybind11::module_& m);   // their steps
void register_layers(pybind11::module_& m);       // st.linear, the mean cross-entropy, their derivatives
void register_gradients(pybind11::module_& m);    // their norm, clipping, unscaling
void register_training(pybind11::module_& m);     // what fit asks for with every batch
void register_order(pybind11::module_& m);        // scans, sorts, searches
void register_random(pybind11::module_& m);
void register_taped(pybind11::module_& m);    // derivatives of the elementwise formulas as taped expressions
void register_runtime(pybind11::module_& m);  // threads, instruction set, devices
void register_graphs(pybind11::module_& m);   // CUDA graphs; after register_runtime
void register_kernels(pybind11::module_& m);  // steep.kernels and DLPack, by nanobind

}  // namespace steep
