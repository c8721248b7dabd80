"""Both levels in one model: a layer of your own inside fit, then a loop of your own on the fitted model.

python examples/mixed.py [--quick] [--seed 0] [--device cpu]
"""

import argparse
from collections.abc import Sequence

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import steep as st


class Maxout(st.nn.Module):
    """The largest of several linear functions, for each output. Goodfellow et al. 2013, arXiv:1302.4389."""

    def __init__(self, in_features: int, out_features: int, pieces: int = 2) -> None:
        # Parameters register themselves: fit, the optimizer and state_dict find them.
        self.weight = st.nn.Parameter(st.random.normal((pieces, in_features, out_features), std=in_features**-0.5))
        self.bias = st.nn.Parameter(st.zeros(pieces, 1, out_features))

    def forward(self, x: st.Tensor) -> st.Tensor:
        # (n, in) @ (pieces, in, out) is (pieces, n, out): any expression of steep's operations has its gradient.
        return (x @ self.weight + self.bias).max(axis=0)


def main(argv: Sequence[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="train for a few epochs only")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the order of the samples")
    parser.add_argument("--device", default="cpu", help="where to train: cpu, or cuda for a GPU")
    args = parser.parse_args(argv)
    st.manual_seed(args.seed)

    # 569 tumours with 30 measurements each: benign (1) or not (0). One output, so the targets are a column too.
    x, y = load_breast_cancer(return_X_y=True)
    y = y[:, None]
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, stratify=y, random_state=0)
    scaler = StandardScaler().fit(x_train)  # the training data's statistics
    x_train, x_test = scaler.transform(x_train), scaler.transform(x_test)

    # High level: the low-level layer is a layer like any other.
    model = st.nn.Sequential(Maxout(30, 64), st.nn.Dropout(0.2), st.nn.Linear(64, 1)).to(args.device)
    model.compile("adamw", "bce_with_logits", metrics=["accuracy"])
    model.fit(x_train, y_train, epochs=3 if args.quick else 15, validation_data=(x_test, y_test))

    # Low level: the fitted model in a loop of our own, on all training data at once, with a penalty on the weights.
    x_all, y_all = (st.tensor(data, st.float32, args.device) for data in (x_train, y_train))
    optimizer = st.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    model.train()
    for step in range(1, 21):
        optimizer.zero_grad()
        penalty = sum((p**2).sum() for p in model.parameters())
        loss = st.binary_cross_entropy_with_logits(model(x_all), y_all) + 1e-4 * penalty
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            print(f"step {step}  loss {float(loss):.4f}")

    accuracy = model.evaluate(x_test, y_test)["accuracy"]
    print(f"validation accuracy {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main()
