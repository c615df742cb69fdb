// The gradient of every primitive through the tape, against finite differences.
#include "finite_difference.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "conformance/epilogue_spec.hpp"

using namespace promiseg;
using namespace promiseg::conformance;

namespace {

std::vector<EpilogueSpec> epilogues() {
  return {
      {},
      {.bias = true},
      {.residual = Residual::separate},
      {.residual = Residual::in_place},
      {.activation = Activation::relu},
      {.activation = Activation::gelu},
      {.scale = 0.7F},
      {.bias = true, .residual = Residual::separate, .activation = Activation::relu},
      {.bias = true,
       .residual = Residual::in_place,
       .activation = Activation::gelu,
       .scale = -0.7F},
  };
}

/// The epilogue of a spec over further inputs of the pass. `out` holds the residual in place.
template <std::size_t Rank>
Epilogue<Rank> make_epilogue(Pass& pass, const EpilogueSpec& spec,
                             const TensorView<float, Rank>& out) {
  Epilogue<Rank> epilogue;
  epilogue.activation = spec.activation;
  epilogue.scale = spec.scale;
  if (spec.bias) epilogue.bias = pass.input(Extents<1>{out.extent(Rank - 1)});
  if (spec.residual == Residual::separate) epilogue.residual = pass.input(out.extents());
  if (spec.residual == Residual::in_place) {
    const auto residual = pass.input(out.extents());
    pass.tape().copy(nn::detail::as_rank4(residual), nn::detail::as_rank4(out));
    epilogue.residual = out;
  }
  return epilogue;
}

Setup conv2d(const Extents<4>& in, Index outputs, ConvGeometry geometry,
             const EpilogueSpec& spec = {}) {
  return [=](TestTape& tape, train::Parameters& weights) -> Forward {
    const Index inputs = geometry.kernel * geometry.kernel * in[3];
    const auto packed = tape.pack(weights.get("weight", Extents<2>{outputs, inputs}));
    return [=](Pass& pass) {
      const auto image = pass.input(in);
      const auto out =
          pass.tensor(Extents<4>{in[0], geometry.output(in[1]), geometry.output(in[2]), outputs});
      const Epilogue<4> epilogue = make_epilogue(pass, spec, out);
      pass.tape().conv2d(image, packed, geometry, epilogue, out);
      pass.output(out);
    };
  };
}

Setup depthwise_conv2d(const Extents<4>& in, ConvGeometry geometry, const EpilogueSpec& spec = {}) {
  return without_layers([=](Pass& pass) {
    const auto image = pass.input(in);
    const auto filters = pass.input(Extents<3>{geometry.kernel, geometry.kernel, in[3]});
    const auto out =
        pass.tensor(Extents<4>{in[0], geometry.output(in[1]), geometry.output(in[2]), in[3]});
    const Epilogue<4> epilogue = make_epilogue(pass, spec, out);
    pass.tape().depthwise_conv2d(image, filters, geometry, epilogue, out);
    pass.output(out);
  });
}

}  // namespace

TEST_CASE("finite differences: gemm") {
  for (const EpilogueSpec& spec : epilogues()) {
    CAPTURE(spec.name());
    check_gradients([&](TestTape& tape, train::Parameters& weights) -> Forward {
      const auto packed = tape.pack(weights.get("weight", Extents<2>{5, 7}));
      return [packed, spec](Pass& pass) {
        const auto in = pass.input(Extents<2>{3, 7});
        const auto out = pass.tensor(Extents<2>{3, 5});
        const Epilogue<2> epilogue = make_epilogue(pass, spec, out);
        pass.tape().gemm(in, packed, epilogue, out);
        pass.output(out);
      };
    });
  }
}

TEST_CASE("finite differences: gemm from a part of a matrix into a part of another") {
  check_gradients([](TestTape& tape, train::Parameters& weights) -> Forward {
    const auto packed = tape.pack(weights.get("weight", Extents<2>{3, 4}));
    return [packed](Pass& pass) {
      const auto in = pass.input(Extents<2>{3, 9});
      const auto out = pass.tensor(Extents<2>{3, 6});
      const auto bias = pass.input(Extents<1>{3});
      pass.tape().gemm(in.slice(1, 0, 4), packed, {bias, {}}, out.slice(1, 0, 3));
      pass.tape().gemm(in.slice(1, 3, 4), packed, {bias, {}}, out.slice(1, 3, 3));
      pass.output(out);
      pass.output(in);
    };
  });
}

TEST_CASE("finite differences: batched_gemm") {
  SUBCASE("transposed, from and to heads") {
    check_gradients(without_layers([](Pass& pass) {
      const auto a = pass.input(Extents<3>{3, 2, 4}).permuted({1, 0, 2});  // [2, 3, 4]
      const auto b = pass.input(Extents<3>{2, 5, 4}).permuted({0, 2, 1});  // [2, 4, 5]
      const auto out = pass.tensor(Extents<3>{3, 2, 5});
      pass.tape().batched_gemm(a, b, 0.5F, out.permuted({1, 0, 2}));
      pass.output(out);
    }));
  }
  SUBCASE("parts with gaps") {
    check_gradients(without_layers([](Pass& pass) {
      const auto a = pass.input(Extents<3>{2, 3, 6}).slice(2, 1, 4);
      const auto b = pass.input(Extents<3>{2, 5, 5}).slice(1, 0, 4);
      const auto out = pass.tensor(Extents<3>{2, 3, 5});
      pass.tape().batched_gemm(a, b, 1.0F, out);
      pass.output(out);
      pass.output(a);
      pass.output(b);
    }));
  }
  SUBCASE("a matrix by itself") {
    check_gradients(without_layers([](Pass& pass) {
      const auto a = pass.input(Extents<3>{2, 3, 4});
      const auto out = pass.tensor(Extents<3>{2, 3, 3});
      pass.tape().batched_gemm(a, a.permuted({0, 2, 1}), 0.5F, out);
      pass.output(out);
    }));
  }
}

TEST_CASE("finite differences: conv2d") {
  SUBCASE("geometries") {
    for (const ConvGeometry geometry :
         {ConvGeometry{1, 1, 0}, ConvGeometry{1, 2, 0}, ConvGeometry{3, 1, 0},
          ConvGeometry{3, 1, 1}, ConvGeometry{3, 2, 0}, ConvGeometry{3, 2, 1},
          ConvGeometry{2, 2, 0}, ConvGeometry{3, 3, 0}, ConvGeometry{2, 1, 1}}) {
      CAPTURE(geometry.kernel);
      CAPTURE(geometry.stride);
      CAPTURE(geometry.padding);
      check_gradients(conv2d({2, 6, 5, 2}, 3, geometry));
    }
  }
  SUBCASE("epilogues") {
    for (const EpilogueSpec& spec : epilogues()) {
      CAPTURE(spec.name());
      check_gradients(conv2d({1, 5, 4, 2}, 3, {3, 2, 1}, spec));
    }
  }
}

TEST_CASE("finite differences: conv_transpose2d") {
  for (const Index kernel : {1, 2, 3}) {
    for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu}) {
      CAPTURE(kernel);
      CAPTURE(EpilogueSpec{.activation = activation}.name());
      check_gradients([=](TestTape& tape, train::Parameters& weights) -> Forward {
        const auto packed = tape.pack(weights.get("weight", Extents<2>{kernel * kernel * 2, 3}));
        return [=](Pass& pass) {
          const auto in = pass.input(Extents<4>{2, 2, 3, 3});
          const auto bias = pass.input(Extents<1>{2});
          const auto out = pass.tensor(Extents<4>{2, 2 * kernel, 3 * kernel, 2});
          pass.tape().conv_transpose2d(in, packed, kernel, bias, activation, out);
          pass.output(out);
        };
      });
    }
  }
}

TEST_CASE("finite differences: depthwise_conv2d") {
  SUBCASE("geometries") {
    for (const ConvGeometry geometry : {ConvGeometry{3, 1, 1}, ConvGeometry{3, 2, 1},
                                        ConvGeometry{3, 2, 0}, ConvGeometry{2, 2, 0}}) {
      CAPTURE(geometry.stride);
      CAPTURE(geometry.padding);
      check_gradients(depthwise_conv2d({2, 5, 4, 3}, geometry));
    }
  }
  SUBCASE("epilogues") {
    for (const EpilogueSpec& spec : epilogues()) {
      CAPTURE(spec.name());
      check_gradients(depthwise_conv2d({1, 4, 4, 3}, {3, 1, 1}, spec));
    }
  }
}

TEST_CASE("finite differences: layer_norm") {
  for (const bool in_place : {false, true}) {
    for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu}) {
      CAPTURE(in_place);
      CAPTURE(EpilogueSpec{.activation = activation}.name());
      check_gradients(without_layers([=](Pass& pass) {
        const auto in = pass.input(Extents<2>{4, 7});
        const auto gamma = pass.input(Extents<1>{7});
        const auto beta = pass.input(Extents<1>{7});
        const auto out = in_place ? in : pass.tensor(in.extents());
        pass.tape().layer_norm(in, gamma, beta, 1e-5F, activation, out);
        pass.output(out);
      }));
    }
  }
}

TEST_CASE("finite differences: softmax") {
  check_gradients(without_layers([](Pass& pass) {
    const auto rows = pass.input(Extents<2>{4, 5});
    pass.tape().softmax(rows);
    pass.output(rows);
  }));
}

TEST_CASE("finite differences: max_pool2d") {
  for (const ConvGeometry geometry :
       {ConvGeometry{2, 2, 0}, ConvGeometry{3, 2, 1}, ConvGeometry{3, 1, 1}}) {
    CAPTURE(geometry.kernel);
    CAPTURE(geometry.stride);
    const Extents<4> extents{2, 5, 6, 3};
    check_gradients(without_layers([=](Pass& pass) {
      const auto in = pass.input(extents, spaced_out(element_count(extents)));
      const auto out =
          pass.tensor(Extents<4>{2, geometry.output(extents[1]), geometry.output(extents[2]), 3});
      pass.tape().max_pool2d(in, geometry, out);
      pass.output(out);
    }));
  }
}

TEST_CASE("finite differences: mean_pixels") {
  check_gradients(without_layers([](Pass& pass) {
    const auto in = pass.input(Extents<4>{2, 3, 4, 5});
    const auto out = pass.tensor(Extents<2>{2, 5});
    pass.tape().mean_pixels(in, out);
    pass.output(out);
  }));
}

TEST_CASE("finite differences: add") {
  const Extents<4> image{2, 3, 4, 5};
  SUBCASE("two images") {
    check_gradients(without_layers([=](Pass& pass) {
      const auto a = pass.input(image);
      const auto b = pass.input(image);
      const auto out = pass.tensor(image);
      pass.tape().add(a, b, out);
      pass.output(out);
    }));
  }
  SUBCASE("broadcast operands") {
    check_gradients(without_layers([=](Pass& pass) {
      const auto vector = pass.input(Extents<4>{1, 1, 1, 5});
      const auto plane = pass.input(Extents<4>{1, 3, 4, 1});
      const auto out = pass.tensor(image);
      pass.tape().add(vector.broadcast_to(image), plane.broadcast_to(image), out);
      pass.output(out);
    }));
  }
  SUBCASE("in place of either operand") {
    check_gradients(without_layers([=](Pass& pass) {
      const auto a = pass.input(image);
      const auto b = pass.input(Extents<4>{2, 1, 1, 5}).broadcast_to(image);
      const auto c = pass.input(image);
      pass.tape().add(a, b, a);
      pass.tape().add(c, a, a);
      pass.output(a);
    }));
  }
  SUBCASE("one operand twice") {
    check_gradients(without_layers([=](Pass& pass) {
      const auto a = pass.input(image);
      const auto out = pass.tensor(image);
      pass.tape().add(a, a, out);
      pass.output(out);
    }));
  }
  SUBCASE("twice, in place") {
    check_gradients(without_layers([=](Pass& pass) {
      const auto a = pass.input(image);
      pass.tape().add(a, a, a);
      pass.output(a);
    }));
  }
}

TEST_CASE("finite differences: copy") {
  SUBCASE("axes exchanged") {
    check_gradients(without_layers([](Pass& pass) {
      const auto in = pass.input(Extents<4>{2, 3, 4, 5});
      const auto out = pass.tensor(Extents<4>{4, 2, 5, 3});
      pass.tape().copy(in.permuted({2, 0, 3, 1}), out);
      pass.output(out);
    }));
  }
  SUBCASE("repeated") {
    check_gradients(without_layers([](Pass& pass) {
      const Extents<4> image{2, 3, 4, 5};
      const auto in = pass.input(Extents<4>{1, 3, 1, 5});
      const auto out = pass.tensor(image);
      pass.tape().copy(in.broadcast_to(image), out);
      pass.output(out);
    }));
  }
  SUBCASE("side by side, from parts") {
    check_gradients(without_layers([](Pass& pass) {
      const auto a = pass.input(Extents<4>{2, 3, 2, 4});
      const auto b = pass.input(Extents<4>{2, 3, 2, 5});
      const auto out = pass.tensor(Extents<4>{2, 3, 2, 7});
      pass.tape().copy(a, out.slice(3, 0, 4));
      pass.tape().copy(b.slice(3, 2, 3), out.slice(3, 4, 3));
      pass.output(out);
      pass.output(b);
    }));
  }
  SUBCASE("over what has been copied before") {
    check_gradients(without_layers([](Pass& pass) {
      const auto a = pass.input(Extents<4>{1, 3, 2, 4});
      const auto b = pass.input(Extents<4>{1, 2, 2, 4});
      const auto out = pass.tensor(Extents<4>{1, 3, 2, 4});
      pass.tape().copy(a, out);
      pass.tape().copy(b, out.slice(1, 1, 2));
      pass.output(out);
    }));
  }
  SUBCASE("over the original, once it has been read") {
    check_gradients(without_layers([](Pass& pass) {
      const Extents<4> extents{1, 3, 2, 4};
      const auto a = pass.input(extents);
      const auto b = pass.input(extents);
      const auto out = pass.tensor(extents);
      pass.tape().copy(a, out);
      pass.tape().copy(b, a);
      pass.tape().add(out, a, out);
      pass.output(out);
      pass.output(a);
    }));
  }
}
