// The epilogues that a case asks for.
#pragma once

#include <string>

#include "prepared_case.hpp"

namespace promiseg::conformance {

enum class Residual { none, separate, in_place };

/// An `Epilogue` as plain numbers, before there is memory for it.
struct EpilogueSpec {
  bool bias = false;
  Residual residual = Residual::none;
  Activation activation = Activation::none;
  float scale = 1.0F;

  /// "_bias_inplace_gelu"
  std::string name() const {
    std::string text;
    if (bias) text += "_bias";
    if (residual == Residual::separate) text += "_residual";
    if (residual == Residual::in_place) text += "_inplace";
    if (activation == Activation::relu) text += "_relu";
    if (activation == Activation::gelu) text += "_gelu";
    if (scale != 1.0F) text += "_scaled";
    return text;
  }

  /// Values moved for an output of `size` values and `channels` channels, the output included.
  double values(double size, double channels) const {
    return size * (residual == Residual::none ? 1 : 2) + (bias ? channels : 0);
  }
};

/// The operands of an epilogue and the destination they end in.
template <std::size_t Rank>
struct EpilogueOperands {
  EpilogueSpec spec;
  DeviceArray<1> bias;
  DeviceArray<Rank> residual;
  Destination<Rank> out;

  template <Backend B>
  EpilogueOperands(B& backend, const EpilogueSpec& wanted, const Extents<Rank>& extents,
                   const Form<Rank>& out_form, const Form<Rank>& residual_form, Position position)
      : spec(wanted),
        out(backend, wanted.residual == Residual::in_place
                         ? HostArray<Rank>::in_place(extents, out_form, Values{11}, position)
                         : HostArray<Rank>::output(extents, out_form, position)) {
    if (spec.bias) bias = make_input<B, 1>(backend, {extents[Rank - 1]}, {}, {12}, position);
    if (spec.residual == Residual::separate) {
      residual = make_input(backend, extents, residual_form, Values{13}, position);
    }
  }

  Epilogue<Rank> epilogue() const {
    return {bias.view(), spec.residual == Residual::in_place ? out.view() : residual.view(),
            spec.activation, spec.scale};
  }
};

/// Amplitude of the weights that makes a sum of `inputs` products with inputs in [-1, 1) have
/// variance one.
inline double weight_amplitude(Index inputs) {
  return 3.0 / std::sqrt(static_cast<double>(inputs));
}

}  // namespace promiseg::conformance
