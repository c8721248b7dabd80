"""Iris at the low level: tensors, a forward pass of your own, backward, and updates by hand.

python examples/iris.py [--quick] [--seed 0] [--device cpu]
"""

import argparse
from collections.abc import Sequence

from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import steep as st


def main(argv: Sequence[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="train for a few epochs only")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the order of the samples")
    parser.add_argument("--device", default="cpu", help="where to train: cpu, or cuda for a GPU")
    args = parser.parse_args(argv)
    st.manual_seed(args.seed)

    # 150 flowers: four lengths each, and one of three species. A quarter is kept for validation.
    x, y = load_iris(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, stratify=y, random_state=0)
    scaler = StandardScaler().fit(x_train)  # the training data's statistics
    device = st.device(args.device)  # of all tensors: operations run where their operands are
    x_train = st.tensor(scaler.transform(x_train), st.float32, device)
    x_test = st.tensor(scaler.transform(x_test), st.float32, device)
    y_train, y_test = st.tensor(y_train, device=device), st.tensor(y_test, device=device)

    # One hidden layer of 64: two weight matrices and two biases, of which gradients are wanted.
    w1 = st.random.normal((4, 64), std=0.5, device=device, requires_grad=True)
    b1 = st.zeros(64, device=device, requires_grad=True)
    w2 = st.random.normal((64, 3), std=0.1, device=device, requires_grad=True)
    b2 = st.zeros(3, device=device, requires_grad=True)
    parameters = [w1, b1, w2, b2]

    def logits(x: st.Tensor) -> st.Tensor:
        hidden = st.tanh(x @ w1 + b1)
        return hidden @ w2 + b2

    learning_rate, batch_size = 0.2, 16
    epochs = 20 if args.quick else 60
    for epoch in range(1, epochs + 1):
        order = st.random.permutation(len(x_train), device)
        total = 0.0
        for start in range(0, len(x_train), batch_size):
            rows = order[start : start + batch_size]
            loss = st.cross_entropy(logits(x_train[rows]), y_train[rows])
            loss.backward()  # adds the gradient of the loss to .grad of every parameter
            with st.no_grad():  # an update is not part of the graph
                for p in parameters:
                    p -= learning_rate * p.grad
                    p.grad = None  # or the next backward would add to it
            total += float(loss) * len(rows)
        if epoch % 10 == 0:
            print(f"epoch {epoch:2}  loss {total / len(x_train):.4f}")

    with st.no_grad():
        accuracy = float((logits(x_test).argmax(axis=1) == y_test).mean())
    print(f"validation accuracy {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main()
