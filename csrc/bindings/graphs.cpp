// CUDA graphs for steep.graphs: the graph itself, and the gradients of leaves, which are Python's.
#include <pybind11/pybind11.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "../core/device.h"
#include "../core/errors.h"
#include "../core/indexing.h"
#include "../core/views.h"
#include "../cuda/cuda.h"
#include "register.h"
#include "tensor_type.h"

namespace py = pybind11;

namespace steep {

thread_local std::vector<GradientNote>* gradient_notes = nullptr;

namespace {

py::object gradient(PyObject* leaf) {
  return py::reinterpret_borrow<py::object>(grad_of(leaf) ? grad_of(leaf) : Py_None);
}

bool requires_grad(const py::object& leaf) { return reinterpret_cast<TensorObject*>(leaf.ptr())->requires_grad; }

void set_gradient(const py::object& leaf, const py::object& value) {
  if (gradient(leaf.ptr()).is(value)) return;
  auto* const tensor = reinterpret_cast<TensorObject*>(leaf.ptr());
  Py_XSETREF(tensor->grad, value.is_none() ? nullptr : value.inc_ref().ptr());
}

/// The gradients that a step reads and sets, noted while it is recorded.
class Gradients {
 public:
  Gradients() = default;
  Gradients(const Gradients&) = delete;
  ~Gradients() { stop(); }

  void start() { gradient_notes = &notes_; }
  void stop() {
    if (gradient_notes == &notes_) gradient_notes = nullptr;
  }
  /// The step was recorded.
  void finish() {
    stop();
    for (GradientNote& note : notes_) {
      note.after = gradient(note.leaf.ptr());
      note.data = array_of(note.leaf.ptr()).data;
      note.requires_grad = requires_grad(note.leaf);
    }
  }
  /// The step has failed.
  void undo() {
    stop();
    for (const GradientNote& note : notes_) set_gradient(note.leaf, note.before);
  }
  /// Are those that it reads where they were when it was recorded?
  bool fit() const {
    return std::ranges::all_of(
        notes_, [](const GradientNote& note) { return !note.reads || gradient(note.leaf.ptr()).is(note.before); });
  }
  /// Has a leaf been given other memory, or been frozen, or no longer?
  bool changed() const {
    return std::ranges::any_of(notes_, [](const GradientNote& note) {
      return array_of(note.leaf.ptr()).data != note.data || requires_grad(note.leaf) != note.requires_grad;
    });
  }
  /// As the step leaves them.
  void set() const {
    for (const GradientNote& note : notes_) set_gradient(note.leaf, note.after);
  }

 private:
  std::vector<GradientNote> notes_;
};

struct DestroyGraph {
  void operator()(cuda::Graph* graph) const { cuda::graph_destroy(graph); }
};

class GraphObject {
 public:
  explicit GraphObject(int device) : graph_(cuda::graph_create(device)) {}
  cuda::Graph& operator*() const { return *graph_; }

 private:
  std::unique_ptr<cuda::Graph, DestroyGraph> graph_;
};

}  // namespace

void add_gradient_note(PyObject* leaf, bool reads) {
  const auto is_leaf = [&](const GradientNote& note) { return note.leaf.ptr() == leaf; };
  if (std::ranges::any_of(*gradient_notes, is_leaf)) return;
  gradient_notes->push_back({py::reinterpret_borrow<py::object>(leaf), gradient(leaf), reads, py::none()});
}

void register_graphs(py::module_& module) {
  auto m = module.attr("cuda").cast<py::module_>();
  py::class_<Gradients>(m, "Gradients")
      .def(py::init<>())
      .def("start", &Gradients::start)
      .def("finish", &Gradients::finish)
      .def("undo", &Gradients::undo)
      .def("fit", &Gradients::fit)
      .def("changed", &Gradients::changed)
      .def("set", &Gradients::set);
  m.def(
      "expect",
      [](const Array& wrong, const std::string& text) {
        if (!is_recorded(wrong)) throw TypeError("expect: there is no CUDA graph that this tensor belongs to");
        checked_later(contiguous(astype(wrong, DType::int64)), 1, false,
                      [text](int64_t) { throw std::invalid_argument(text); });
      },
      "In a graph that is recorded: a replay in which an element isn't 0 raises ValueError, later.");
  py::class_<GraphObject>(m, "Graph")
      .def(py::init<int>())
      .def("begin", [](const GraphObject& g, uint64_t offset) { cuda::graph_begin(*g, offset); })
      .def("end", [](const GraphObject& g) { cuda::graph_end(*g); })
      .def("abandon", [](const GraphObject& g) { cuda::graph_abandon(*g); })
      .def("follow", [](const GraphObject& g) { cuda::graph_follow(*g); })
      .def("launch", [](const GraphObject& g, uint64_t seed, uint64_t offset) { cuda::graph_launch(*g, seed, offset); })
      .def("__len__", [](const GraphObject& g) { return cuda::graph_size(*g); });
}

}  // namespace steep
