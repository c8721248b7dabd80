// The walk over the tape. Rules (vjps) and whatever is rare are Python's.
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <map>
#include <utility>
#include <vector>

#include "../core/elementwise.h"
#include "../core/errors.h"
#include "../core/gradients.h"
#include "../core/views.h"
#include "python_type.h"
#include "register.h"
#include "tensor_type.h"
#include "unlocked.h"
#include "watch.h"

namespace py = pybind11;

namespace steep {
namespace {

bool requires_grad(PyObject* tensor) { return reinterpret_cast<TensorObject*>(tensor)->requires_grad; }

/// sum += x, in sum's own memory.
void add_to(Array& sum, const Array& x) {
  static const BinaryKernel& add = binary_operation("add");
  check_writable("backward", sum);
  const Array other = x.storage.get() == sum.storage.get() ? copy(x) : x;
  elementwise("backward", add.forward[sum.dtype], std::array<const Array*, 2>{&sum, &other}, sum);
  sum.storage->version++;
}

/// Does this thread run a vjp whose saved values are freed behind it? Then it may give away their memory.
thread_local bool frees_saved = false;

class FreesSaved {
 public:
  explicit FreesSaved(bool frees) : before_(std::exchange(frees_saved, frees)) {}
  FreesSaved(const FreesSaved&) = delete;
  ~FreesSaved() { frees_saved = before_; }

 private:
  bool before_;
};

/// What the hooks of a node or leaf make of its gradient.
py::object hooked(PyObject* hooks, py::object gradient, const char* of) {
  if (!hooks || !PyDict_Check(hooks)) return gradient;
  const auto functions = py::reinterpret_steal<py::list>(PyDict_Values(hooks));  // a hook may remove itself
  for (py::handle f : functions) {
    py::object result = f(gradient);
    if (result.is_none()) continue;
    const Array& g = array_of(gradient.ptr());
    if (!is_tensor(result.ptr()) || array_of(result.ptr()).shape != g.shape ||
        array_of(result.ptr()).dtype != g.dtype || array_of(result.ptr()).device() != g.device())
      throw py::value_error(message("a hook of ", of, " must return None or a gradient of shape ", to_string(g.shape),
                                    " and the same dtype and device"));
    gradient = std::move(result);
  }
  return gradient;
}

class Walk {
 public:
  /// wanted: None, or a dict by the identity of nodes and leaves. fit(gradient, edge) undoes broadcasting and
  /// promotion.
  Walk(bool retain_graph, bool create_graph, py::object wanted, py::object fit)
      : retain_graph_(retain_graph), create_graph_(create_graph), wanted_(std::move(wanted)), fit_(std::move(fit)) {}

  /// A gradient has come to a node or a leaf; `arrived` is the gradient that the vjp was given, and `own` how many
  /// references to the new one are the walk's.
  void arrive(PyObject* edge, py::object gradient, PyObject* arrived, Py_ssize_t own) {
    if (is_node(edge)) {
      const auto [place, is_new] = pending_.try_emplace(node_of(edge).id);
      Pending& p = place->second;
      if (is_new)
        p = {py::reinterpret_borrow<py::object>(edge), std::move(gradient)};
      else
        p.gradient = p.gradient + gradient;
    } else if (hooks_of(edge)) {
      hold(edge, std::move(gradient));
    } else if (wanted_.is_none()) {
      accumulate(edge, gradient, arrived, own);
    } else if (PyObject* const before = wanted(edge)) {
      set_wanted(edge, before == Py_None ? gradient : py::reinterpret_borrow<py::object>(before) + gradient);
    }
  }

  /// From the newest node to the oldest.
  void run() {
    std::vector<PyObject*> arguments;
    while (!pending_.empty()) {
      const auto newest = std::prev(pending_.end());
      Pending next = std::move(newest->second);
      pending_.erase(newest);
      PyObject* const o = next.node.ptr();
      NodeObject& node = node_of(o);
      if (node.hooks) next.gradient = hooked(node.hooks, std::move(next.gradient), node_operation(o).c_str());
      if (!wanted_.is_none() && wanted(o)) set_wanted(o, next.gradient);
      py::tuple saved = stolen<py::tuple>(node_saved(o));
      PyObject* const watcher = vjp_watcher();
      arguments.clear();
      if (watcher) arguments.push_back(o);
      arguments.push_back(next.gradient.ptr());
      for (py::handle value : saved) arguments.push_back(value.ptr());
      const auto result = [&] {
        const FreesSaved frees(!retain_graph_);
        return stolen<py::object>(
            PyObject_Vectorcall(watcher ? watcher : node.vjp, arguments.data(), arguments.size(), nullptr));
      }();
      if (!retain_graph_) {
        Py_CLEAR(node.saved);
        Py_CLEAR(node.hooks);  // they may hold the node, and no backward comes here again
        saved.release().dec_ref();
      }
      if (!PyTuple_Check(result.ptr()) && !PyList_Check(result.ptr()))
        throw py::type_error(message("the vjp of '", node_operation(o),
                                     "' must return a tuple with a gradient or None ", "for each input, not ",
                                     Py_TYPE(result.ptr())->tp_name));
      const py::tuple gradients = stolen<py::tuple>(PySequence_Tuple(result.ptr()));
      const py::tuple edges = py::reinterpret_borrow<py::tuple>(node.edges);
      if (gradients.size() != edges.size())
        throw py::value_error(message("the vjp of '", node_operation(o), "' returned ", gradients.size(),
                                      " gradients for ", edges.size(), " inputs"));
      for (size_t i = 0; i < edges.size(); ++i) {
        PyObject *edge = PyTuple_GET_ITEM(edges.ptr(), i), *d = PyTuple_GET_ITEM(gradients.ptr(), i);
        if (edge == Py_None || d == Py_None) continue;
        if (!is_tensor(d))
          throw py::type_error(message("the vjp of '", node_operation(o), "': gradient ", i, " must be a Tensor, not ",
                                       Py_TYPE(d)->tp_name));
        py::object gradient = py::reinterpret_borrow<py::object>(d);
        const bool fitted = fits(array_of(d), edge);
        if (!fitted) gradient = fit_(gradient, py::handle(edge));
        arrive(edge, std::move(gradient), next.gradient.ptr(), fitted ? 2 : 1);  // the tuple's and ours, or ours
      }
    }
    for (Pending& leaf : held_) {
      py::object gradient = hooked(hooks_of(leaf.node.ptr()), std::move(leaf.gradient), "a leaf");
      if (wanted_.is_none())
        accumulate(leaf.node.ptr(), gradient, nullptr, 1);
      else
        set_wanted(leaf.node.ptr(), gradient);
    }
  }

 private:
  struct Pending {
    py::object node, gradient;
  };

  static PyObject* hooks_of(PyObject* leaf) { return reinterpret_cast<TensorObject*>(leaf)->hooks; }
  /// The hooks of a leaf see the whole of its gradient, once.
  void hold(PyObject* leaf, py::object gradient) {
    if (!wanted_.is_none() && !wanted(leaf)) return;
    const auto place = std::ranges::find_if(held_, [&](const Pending& p) { return p.node.ptr() == leaf; });
    if (place == held_.end())
      held_.push_back({py::reinterpret_borrow<py::object>(leaf), std::move(gradient)});
    else
      place->gradient = place->gradient + gradient;
  }

  template <class T>
  static T stolen(PyObject* o) {
    if (!o) throw py::error_already_set();
    return py::reinterpret_steal<T>(o);
  }
  static void set_grad(PyObject* leaf, const py::object& value) {
    if (steep::set_grad(leaf, value.ptr()) != 0) throw py::error_already_set();
  }
  static py::object key(PyObject* o) { return stolen<py::object>(PyLong_FromVoidPtr(o)); }
  /// Borrowed; null where the edge isn't wanted.
  PyObject* wanted(PyObject* edge) const { return PyDict_GetItemWithError(wanted_.ptr(), key(edge).ptr()); }
  void set_wanted(PyObject* edge, const py::object& gradient) const { wanted_[key(edge)] = gradient; }

  /// Adds to the leaf's `.grad`, which belongs to the leaf alone, so that it can be changed in place, unless it has a
  /// history. A gradient that others hold is copied. `own` is how many references to it are the walk's.
  void accumulate(PyObject* leaf, const py::object& gradient, PyObject* arrived, Py_ssize_t own) const {
    note_gradient(leaf, true);
    // Another thread may be adding to the same leaf: so other threads are not let in between reading and writing.
    const py::object before = py::reinterpret_borrow<py::object>(grad_of(leaf) ? grad_of(leaf) : Py_None);
    const bool has_history = create_graph_ && requires_grad(gradient.ptr());
    if (before.is_none()) {
      const Array& g = array_of(gradient.ptr());
      const bool owned = gradient.ptr() != arrived && Py_REFCNT(gradient.ptr()) <= own && g.storage->refs.load() == 1 &&
                         g.is_contiguous() && !requires_grad(gradient.ptr());
      set_grad(leaf, has_history || owned ? gradient : py::cast(copy(g)));
    } else if (has_history || requires_grad(before.ptr())) {
      set_grad(leaf, before + gradient);
    } else {
      add_to(array_of(before.ptr()), array_of(gradient.ptr()));
    }
  }

  const bool retain_graph_, create_graph_;
  const py::object wanted_, fit_;
  std::map<uint64_t, Pending> pending_;  // by id
  std::vector<Pending> held_;            // leaves with hooks
};

/// seed(tensor): the gradient of a tensor with respect to itself.
PyObject* seed(PyObject*, PyObject* const* args, Py_ssize_t n) {
  if (n != 1 || !is_tensor(args[0])) throw TypeError("seed(tensor)");
  const Array& a = array_of(args[0]);
  return wrap(Array::full(a.dtype, a.shape, 1, a.device()));
}

}  // namespace

Array times_number(const Array& x, const Array& number) {
  const Unlocked unlocked(x.size());
  Array out = frees_saved ? x : copy(x);
  scale({out}, number);
  return out;
}

void register_backward(py::module_& m) {
  static PyMethodDef functions[] = {
      {"seed", fast_function<seed>(), METH_FASTCALL, "seed(tensor): ones of its shape, dtype and device."}, {}};
  if (PyModule_AddFunctions(m.ptr(), functions) != 0) throw py::error_already_set();
  m.def(
      "backpropagate",
      [](const py::list& roots, bool retain_graph, bool create_graph, py::object wanted, py::object fit) {
        if (!wanted.is_none() && !PyDict_Check(wanted.ptr()))
          throw py::type_error("backpropagate: wanted is None or a dict");
        const Recording recording(create_graph);
        Walk walk(retain_graph, create_graph, std::move(wanted), std::move(fit));
        for (py::handle root : roots) {
          const auto pair = root.cast<py::tuple>();
          if (pair.size() != 2 || !is_tensor(pair[0].ptr()) || !is_tensor(pair[1].ptr()))
            throw py::type_error("backpropagate: a root is a pair of Tensors");
          walk.arrive(edge_to(pair[0].ptr()), pair[1], pair[1].ptr(), 0);
        }
        walk.run();
      },
      "Walks the tape from roots, which are outputs with their gradients, to the leaves.");
}

}  // namespace steep
