"""Handwritten digits at the high level: a model is a sequence of layers; compile it, fit it, look at the history.

python examples/digits.py [--quick] [--seed 0] [--device cpu]
"""

import argparse
from collections.abc import Sequence

from sklearn.datasets import load_digits
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

    # 1797 images of 8×8 pixels, as rows of 64 numbers, and the digits they show. A quarter is kept for validation.
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, stratify=y, random_state=0)

    # Mean 0 and deviation 1, by the training data's statistics: the model must not know the test data's.
    scaler = StandardScaler().fit(x_train)
    x_train, x_test = scaler.transform(x_train), scaler.transform(x_test)

    model = st.nn.Sequential(
        st.nn.Linear(64, 64, activation="relu"),
        st.nn.Linear(64, 10),  # one logit for each digit; the loss applies softmax itself
    ).to(args.device)  # fit, predict and evaluate bring the data there
    print(model)
    model.compile(optimizer="adam", loss="cross_entropy", metrics=["accuracy"])
    history = model.fit(x_train, y_train, epochs=10 if args.quick else 40, validation_data=(x_test, y_test))

    best = max(range(len(history.epoch)), key=lambda i: history["val_accuracy"][i])
    print(f"best validation accuracy {history['val_accuracy'][best]:.3f}, after epoch {history.epoch[best]}")

    # Softmax turns the logits into probabilities.
    probabilities = model.predict(x_test[:3]).softmax()
    for p, digit in zip(probabilities, y_test[:3], strict=True):
        print(f"predicted {int(p.argmax())} with probability {float(p.max()):.2f}; it is {digit}")

    accuracy = model.evaluate(x_test, y_test)["accuracy"]
    print(f"validation accuracy {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main()
