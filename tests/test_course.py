"""A course from the ground up: what its lessons do, written as a learner would write it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_classification

import steep as st
from steep import nn


@pytest.fixture
def plt() -> Iterator[Any]:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def close(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    actual = actual.detach() if isinstance(actual, st.Tensor) else actual
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=tolerance, atol=tolerance)


def classes() -> tuple[np.ndarray, np.ndarray]:
    x, y = make_classification(100, 2, n_informative=2, n_redundant=0, n_clusters_per_class=1, random_state=3)
    return x, y


# --- build your own framework: no autograd ----------------------------------------------------------------------------


class Linear:
    """A layer whose gradients are worked out by hand."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.W = st.random.normal((outputs, inputs), std=1 / math.sqrt(inputs))
        self.b = st.zeros(outputs)

    def forward(self, x: st.Tensor) -> st.Tensor:
        self.x = x
        return x @ self.W.T + self.b

    def backward(self, dz: st.Tensor) -> st.Tensor:
        self.dW, self.db = dz.T @ self.x, dz.sum(axis=0)
        return dz @ self.W

    def update(self, lr: float) -> None:
        self.W -= lr * self.dW
        self.b -= lr * self.db


class Tanh:
    def forward(self, x: st.Tensor) -> st.Tensor:
        self.y = st.tanh(x)
        return self.y

    def backward(self, dy: st.Tensor) -> st.Tensor:
        return (1 - self.y**2) * dy


class Softmax:
    def forward(self, z: st.Tensor) -> st.Tensor:
        zexp = st.exp(z - z.max(axis=1, keepdims=True))
        self.p = zexp / zexp.sum(axis=1, keepdims=True)
        return self.p

    def backward(self, dp: st.Tensor) -> st.Tensor:
        pdp = self.p * dp
        return pdp - self.p * pdp.sum(axis=1, keepdims=True)


class CrossEntropy:
    """Of probabilities and integer labels."""

    def forward(self, p: st.Tensor, y: st.Tensor) -> st.Tensor:
        self.p, self.y = p, y
        return -st.log(p[st.arange(len(y)), y]).mean()

    def backward(self) -> st.Tensor:
        dp = st.zeros_like(self.p)
        rows = st.arange(len(self.y))
        dp[rows, self.y] = -1 / self.p[rows, self.y] / len(self.y)
        return dp


class Net:
    def __init__(self, *layers: Any) -> None:
        self.layers = list(layers)

    def forward(self, x: st.Tensor) -> st.Tensor:
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, d: st.Tensor) -> None:
        for layer in self.layers[::-1]:
            d = layer.backward(d)

    def update(self, lr: float) -> None:
        for layer in self.layers:
            if hasattr(layer, "update"):
                layer.update(lr)


def test_gradients_by_hand_are_those_of_the_tape() -> None:
    net, loss = Net(Linear(2, 5), Tanh(), Linear(5, 3), Softmax()), CrossEntropy()
    x, y = st.random.normal((7, 2)), st.random.randint(0, 3, 7)
    loss.forward(net.forward(x), y)
    net.backward(loss.backward())
    leaves = [parameter for layer in (net.layers[0], net.layers[2]) for parameter in (layer.W, layer.b)]
    for leaf in leaves:
        leaf.requires_grad = True
    loss.forward(net.forward(x), y).backward()
    by_hand = [g for layer in (net.layers[0], net.layers[2]) for g in (layer.dW, layer.db)]
    for leaf, gradient in zip(leaves, by_hand, strict=True):
        close(leaf.grad, gradient.detach().numpy())


def test_a_hand_made_net_learns_in_minibatches_with_its_boundary_drawn(plt: Any) -> None:
    x_all, y_all = classes()
    x, y = st.tensor(x_all, dtype="float32"), st.tensor(y_all)
    x_train, x_test, y_train, y_test = x[:80], x[80:], y[:80], y[80:]
    net, loss = Net(Linear(2, 10), Tanh(), Linear(10, 2), Softmax()), CrossEntropy()
    accuracies = []
    for _ in range(10):
        for i in range(0, len(x_train), 4):
            xb, yb = x_train[i : i + 4], y_train[i : i + 4]
            loss.forward(net.forward(xb), yb)
            net.backward(loss.backward())
            net.update(0.1)
        accuracies.append((net.forward(x_test).argmax(axis=1) == y_test).float().mean())
    assert accuracies[-1] >= 0.85
    xs, ys = st.meshgrid(st.linspace(-3, 3, 40), st.linspace(-3, 3, 30))
    p = net.forward(st.stack([xs.flatten(), ys.flatten()], axis=1))[:, 1].reshape(xs.shape)
    _, (left, right) = plt.subplots(1, 2)
    left.plot(accuracies)
    right.contourf(xs, ys, p)
    right.scatter(x_train[:, 0], x_train[:, 1], c=y_train)
    right.figure.canvas.draw()


def test_losses_drawn_against_p(plt: Any) -> None:
    p = st.linspace(0.01, 0.99, 99)
    for loss in (st.abs(1 - p), (1 - p) ** 2, (p < 0.5).float(), st.log(1 + st.exp(-p)), -st.log(p)):
        plt.plot(p, loss)
    assert len(plt.gca().lines) == 5
    close(plt.gca().lines[4].get_ydata(), -np.log(np.linspace(0.01, 0.99, 99)))


def test_the_largest_weight_of_each_layer_for_each_epoch(plt: Any) -> None:
    x, y = classes()
    model = nn.Sequential(nn.Linear(2, 8, activation="relu"), nn.Linear(8, 2))
    model.compile("sgd", "cross_entropy")
    largest = []
    for _ in range(3):
        model.fit(x, y, verbose=0)
        largest.append([float(abs(layer.weight).max()) for layer in model])
    close(largest[-1], [np.abs(w).max() for w in model.get_weights()[::2]])
    plt.plot(largest)
    plt.imshow(model[0].weight)
    plt.hist(model[0].weight.flatten())


# --- low level, in PyTorch's manner -----------------------------------------------------------------------------------


def test_tensors() -> None:
    a = st.tensor([[1, 2], [1, 2]])
    b = st.random.normal((10, 3))
    assert a.shape == (2, 2)
    close(st.exp(a[0]), np.exp([1, 2]))
    close(b - b[0], b.numpy() - b.numpy()[0])
    u = a.float()
    u.add_(2)
    u += 1
    close(u, [[4, 5], [4, 5]])
    s = st.zeros_like(b[0])
    for row in b:
        s.add_(row)
    close(s, b.numpy().sum(0))
    close(b.sum(axis=0), b.numpy().sum(0))


def test_gradients() -> None:
    a = st.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    b = st.tensor([[2.0, 1.0], [1.0, 5.0]])
    c = st.sqrt(st.mean(st.square(a - b)))
    assert repr(c).endswith("grad_fn=sqrt)")
    c.backward(retain_graph=True)
    once = a.grad.numpy().copy()
    close(once, (a.detach() - b).numpy() / (4 * float(c)))
    c.backward()
    close(a.grad, 2 * once)
    a.grad.zero_()
    close(a.grad, np.zeros((2, 2)))
    rows = st.sqrt(st.mean(st.square(a - b), axis=1))
    rows.backward(st.tensor([1.0, 0.0]))
    close(a.grad[1], [0, 0])
    assert a.grad[0, 0] != 0


def test_a_quadratic_is_minimised_by_hand() -> None:
    x = st.zeros(2, requires_grad=True)
    for _ in range(200):
        value = (x[0] - 2) ** 2 + 3 * (x[1] + 1) ** 2
        value.backward()
        with st.no_grad():
            x -= 0.05 * x.grad
        x.grad.zero_()
    close(x, [2, -1])


def test_linear_regression(plt: Any) -> None:
    x = st.linspace(0, 3, 60)
    y = 2 * x + 1 + 0.1 * st.random.normal(60)
    w, b = st.random.normal((1, 1), requires_grad=True), st.zeros(1, requires_grad=True)
    for _ in range(150):
        order = st.random.permutation(60)
        for i in range(0, 60, 10):
            xb, yb = x[order][i : i + 10], y[order][i : i + 10]
            loss = ((xb.reshape(-1, 1) @ w + b - yb.reshape(-1, 1)) ** 2).mean()
            loss.backward()
            with st.no_grad():
                for p in (w, b):
                    p -= 0.05 * p.grad
                    p.grad.zero_()
    slope, intercept = np.polyfit(x.numpy(), y.numpy(), 1)
    close([w.item(), b.item()], [slope, intercept], 0.1)
    plt.scatter(x, y)
    plt.plot(x, w[0] * x + b)  # tensors with a history
    assert f"{loss:.3f}" == "%.3f" % loss  # noqa: UP031


def test_devices() -> None:
    device = "cuda" if st.cuda.is_available() else "cpu"
    x = st.ones(2, 3).to(device)
    assert nn.Linear(3, 1).to(device)(x).device.type == device


class Network:
    def __init__(self) -> None:
        self.W = st.random.normal((2, 1), requires_grad=True)
        self.b = st.zeros(1, requires_grad=True)

    def forward(self, x: st.Tensor) -> st.Tensor:
        return x @ self.W + self.b

    def zero_grad(self) -> None:
        self.W.grad = self.b.grad = None

    def update(self, lr: float) -> None:
        with st.no_grad():
            self.W.sub_(lr * self.W.grad)
            self.b.sub_(lr * self.b.grad)


def test_a_hand_made_network_class(plt: Any) -> None:
    x_all, y_all = classes()
    x, y = st.tensor(x_all, dtype="float32"), st.tensor(y_all, dtype="float32")
    train, valid = slice(0, 70), slice(70, 85)
    net = Network()
    for _ in range(20):
        for i in range(0, 70, 16):
            xb, yb = x[train][i : i + 16], y[train][i : i + 16]
            net.zero_grad()
            loss = st.binary_cross_entropy_with_logits(net.forward(xb).squeeze(1), yb)
            loss.backward()
            net.update(0.5)
    accuracy = ((st.sigmoid(net.forward(x[valid])) > 0.5).float().squeeze(1) == y[valid]).float().mean()
    assert accuracy > 0.8
    plt.scatter(x[y == 0, 0], x[y == 0, 1], c=net.forward(x[y == 0])[:, 0])


def test_layers_optimizers_and_curves(plt: Any) -> None:
    class MyNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(2, 8)
            self.func = nn.ReLU()
            self.fc2 = nn.Linear(8, 1)

        def forward(self, x: Any) -> Any:
            return self.fc2(self.func(self.fc1(x)))

    x_all, y_all = classes()
    x, y = st.tensor(x_all, dtype="float32"), st.tensor(y_all, dtype="float32").reshape(-1, 1)
    by_hand = MyNet()
    assert repr(by_hand) == (
        "MyNet(\n"
        "  (fc1): Linear(in_features=2, out_features=8, bias=True)\n"
        "  (func): ReLU()\n"
        "  (fc2): Linear(in_features=8, out_features=1, bias=True)\n"
        ")"
    )
    in_a_row = nn.Sequential(nn.Linear(2, 5), nn.Sigmoid(), nn.Linear(5, 1))
    for net, optimizer in (
        (by_hand, st.optim.SGD(by_hand.parameters(), lr=0.5)),
        (in_a_row, st.optim.Adam(in_a_row.parameters(), lr=0.1)),
    ):
        losses = []
        for _ in range(40):
            optimizer.zero_grad()
            loss = st.binary_cross_entropy_with_logits(net(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        assert losses[-1] < 0.6 * losses[0]
        plt.plot(losses)


def test_a_step_class_with_an_optimizer_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    class Classifier(nn.Module):
        def __init__(self) -> None:
            self.net = nn.Sequential(nn.Linear(2, 8, activation="relu"), nn.Linear(8, 2))
            self.optimizer = st.optim.Adam(self.net.parameters(), lr=0.05)

        def forward(self, x: Any) -> Any:
            return self.net(x)

        def train_step(self, batch: Any) -> dict[str, Any]:
            x, y = batch
            loss = st.cross_entropy(self(x), y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            return {"loss": loss}

    model = Classifier()
    history = model.fit(*classes(), epochs=5, verbose=0)
    assert history["loss"][-1] < history["loss"][0]
    model.summary()
    assert "parameters   42 (168 B): 42 trainable, 0 frozen" in capsys.readouterr().out


# --- low level, in TensorFlow's manner --------------------------------------------------------------------------------


def test_constants_and_variables() -> None:
    a = st.tensor([[1, 2], [1, 2]])
    b = st.random.normal((10, 3), mean=1.0, std=2.0)
    close(b - b[0], b.numpy() - b.numpy()[0])
    s = st.tensor(st.zeros_like(b[0]))
    s.copy_(b[0])
    s.add_(b[1])
    s[0] = 5.0
    close(s[1:], (b[0] + b[1]).numpy()[1:])
    assert (float(s[0]), a.dtype) == (5.0, st.int64)
    variable = st.zeros(3, requires_grad=True)
    with st.no_grad():
        variable.copy_(np.ones(3))
        variable += 1
        variable[...] = variable * 2
    close(variable, [4, 4, 4])
    for name, use in (("Variable", "requires_grad"), ("constant", "steep.tensor"), ("GradientTape", "value_and_grad")):
        with pytest.raises(AttributeError, match=use):
            getattr(st, name)
    with pytest.raises(AttributeError, match=r"use x\.add_\(values\)"):
        variable.assign_add(1)


def test_gradients_with_respect_to_a_list_of_values() -> None:
    w, b = st.random.normal((2, 1), requires_grad=True), st.zeros(1, requires_grad=True)
    x, y = st.random.normal((20, 2)), st.random.normal((20, 1))

    def compute_loss(w: Any, b: Any) -> st.Tensor:
        return ((x @ w + b - y) ** 2).mean()

    dw, db = st.grad(compute_loss(w, b), [w, b])
    residual = (x.numpy() @ w.detach().numpy() - y.numpy()) / 10
    close(dw, x.numpy().T @ residual)
    close(db, residual.sum(0))
    loss, gradients = st.value_and_grad(compute_loss, (0, 1))(w, b)
    close(loss, compute_loss(w, b).item())
    close(gradients[0], dw.numpy())


def test_a_traced_function_is_the_function_as_it_is() -> None:
    for name in ("function", "compile"):
        with pytest.raises(AttributeError, match="steep runs every operation at once"):
            getattr(st, name)


def test_normalised_by_the_training_set_and_trained_in_shuffled_batches(plt: Any) -> None:
    x, labels = (st.tensor(a) for a in classes())
    x_train, x_test, y_train, y_test = x[:70].float(), x[70:].float(), labels[:70].float(), labels[70:].float()
    low, high = x_train.min(axis=0), x_train.max(axis=0)
    x_train, x_test = (x_train - low) / (high - low), (x_test - low) / (high - low)
    assert (float(x_train.min()), float(x_train.max())) == (0.0, 1.0)
    w, b = st.random.normal((2, 1), requires_grad=True), st.zeros(1, requires_grad=True)
    optimizer = st.optim.Adam([w, b], lr=0.1)
    for _ in range(30):
        for rows in st.random.permutation(70).split([16, 16, 16, 16, 6]):
            loss = st.binary_cross_entropy_with_logits((x_train[rows] @ w + b)[:, 0], y_train[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    z = (x_test @ w + b)[:, 0]
    accuracy = ((z > 0) == (y_test > 0.5)).float().mean()
    assert accuracy > 0.8
    points = plt.scatter(x_test[:, 0], x_test[:, 1], c=z, s=10 + 5 * y_test)
    plt.gcf().canvas.draw()
    close(points.get_array(), z.detach().numpy())
    plt.title("accuracy %.2f, loss %f, epoch %d" % (accuracy, loss, st.tensor(30)))  # noqa: UP031
    assert plt.gca().get_title().startswith(f"accuracy {accuracy.item():.2f}, loss {loss.item():f}")
