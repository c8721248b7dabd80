// The walk over the tape. Rules (vjps) and whatever is rare are Python's.
#include <pybind11/pybind11.h>

#include <map>
#include <vector>

#include "../core/errors.h"
#include "../core/views.h"
#include "register.h"
#include "tensor_type.h"
#include "unlocked.h"

namespace py = pybind11;

namespace steep {
namespace {

class Walk {
 public:
  /// wanted: None, or a dict by the identity of nodes and leaves. fit(gradient, edge) undoes broadcasting and
  /// promotion; add(leaf, gradient, create_graph) adds to a `.grad` that there is.
  Walk(bool retain_graph, bool create_graph, py::object wanted, py::object fit, py::object add)
      : retain_graph_(retain_graph), create_graph_(create_graph), wanted_(wanted), fit_(fit), add_(add) {}

  /// A gradient has come to a node or a leaf; `arrived` is the gradient that the vjp was given.
  void arrive(PyObject* edge, py::object gradient, PyObject* arrived) {
    if (is_node(edge)) {
      const auto [place, is_new] = pending_.try_emplace(node_of(edge).id);
      Pending& p = place->second;
      if (is_new)
        p = {py::reinterpret_borrow<py::object>(edge), std::move(gradient)};
      else
        p.gradient = p.gradient + gradient;
    } else if (wanted_.is_none()) {
      accumulate(edge, gradient, arrived);
    } else if (PyObject* const before = wanted(edge)) {
      set_wanted(edge, before == Py_None ? gradient : py::reinterpret_borrow<py::object>(before) + gradient);
    }
  }

  /// From the newest node to the oldest.
  void run() {
    std::vector<PyObject*> arguments;
    while (!pending_.empty()) {
      const auto newest = std::prev(pending_.end());
      const Pending next = std::move(newest->second);
      pending_.erase(newest);
      PyObject* const o = next.node.ptr();
      NodeObject& node = node_of(o);
      if (!wanted_.is_none() && wanted(o)) set_wanted(o, next.gradient);
      const py::tuple saved = stolen<py::tuple>(node_saved(o));
      arguments.assign(1, next.gradient.ptr());
      for (py::handle value : saved) arguments.push_back(value.ptr());
      const py::object result =
          stolen<py::object>(PyObject_Vectorcall(node.vjp, arguments.data(), arguments.size(), nullptr));
      const py::tuple gradients = stolen<py::tuple>(PySequence_Tuple(result.ptr()));
      const py::tuple edges = py::reinterpret_borrow<py::tuple>(node.edges);
      if (gradients.size() != edges.size())
        throw py::value_error(message("the vjp of '", node_operation(o), "' returned ", gradients.size(),
                                      " gradients for ", edges.size(), " inputs"));
      for (size_t i = 0; i < edges.size(); ++i) {
        PyObject *edge = PyTuple_GET_ITEM(edges.ptr(), i), *d = PyTuple_GET_ITEM(gradients.ptr(), i);
        if (edge == Py_None || d == Py_None) continue;
        if (!is_tensor(d)) throw py::type_error("a gradient must be a Tensor, not " + std::string(Py_TYPE(d)->tp_name));
        py::object gradient = py::reinterpret_borrow<py::object>(d);
        if (!fits(array_of(d), edge)) gradient = fit_(gradient, py::handle(edge));
        arrive(edge, std::move(gradient), next.gradient.ptr());
      }
      if (!retain_graph_) Py_CLEAR(node.saved);
    }
  }

 private:
  struct Pending {
    py::object node, gradient;
  };

  template <class T>
  static T stolen(PyObject* o) {
    if (!o) throw py::error_already_set();
    return py::reinterpret_steal<T>(o);
  }
  static py::object key(PyObject* o) { return stolen<py::object>(PyLong_FromVoidPtr(o)); }
  /// Borrowed; null where the edge isn't wanted.
  PyObject* wanted(PyObject* edge) const { return PyDict_GetItemWithError(wanted_.ptr(), key(edge).ptr()); }
  void set_wanted(PyObject* edge, const py::object& gradient) const { wanted_[key(edge)] = gradient; }

  /// Adds to the leaf's `.grad`. A gradient that others may hold is copied, so that .grad can be changed in place.
  void accumulate(PyObject* leaf, const py::object& gradient, PyObject* arrived) const {
    if (grad_of(leaf)) {
      add_(py::handle(leaf), gradient, create_graph_);
    } else if (create_graph_) {
      py::setattr(leaf, "grad", gradient);
    } else {
      const Array& g = array_of(gradient.ptr());
      const bool owned = gradient.ptr() != arrived && g.storage->refs.load() == 1 && g.is_contiguous();
      py::setattr(leaf, "grad", py::cast(owned ? Array(g) : unlocked_copy(g)));
    }
  }
  static Array unlocked_copy(const Array& g) {
    const Unlocked unlocked(g.size());
    return copy(g);
  }

  const bool retain_graph_, create_graph_;
  const py::object wanted_, fit_, add_;
  std::map<uint64_t, Pending> pending_;  // by id
};

}  // namespace

void register_backward(py::module_& m) {
  m.def(
      "backpropagate",
      [](const py::list& roots, bool retain_graph, bool create_graph, py::object wanted, py::object fit,
         py::object add) {
        const Recording recording(create_graph);
        Walk walk(retain_graph, create_graph, std::move(wanted), std::move(fit), std::move(add));
        for (py::handle root : roots) {
          const auto pair = py::reinterpret_borrow<py::tuple>(root);
          walk.arrive(edge_to(pair[0].ptr()), pair[1], pair[1].ptr());
        }
        walk.run();
      },
      "Walks the tape from roots, which are outputs with their gradients, to the leaves.");
}

}  // namespace steep
