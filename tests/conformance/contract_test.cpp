// What every backend promises besides numbers: wrong shapes are refused, and what is not a number
// stays visible.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "promiseg/backend/reference.hpp"
#include "promiseg/eigen/backend.hpp"

using namespace promiseg;

namespace {

/// Evaluates to true if the statement throws `Error` with the code `shape_mismatch`.
template <class Statement>
bool refuses(const Statement& statement) {
  try {
    statement();
  } catch (const Error& error) {
    return error.code() == ErrorCode::shape_mismatch;
  }
  return false;
}

/// A host tensor of zeros; the backends here all work on host memory.
template <std::size_t Rank>
Tensor<float, Rank> zeros(const Extents<Rank>& extents) {
  return Tensor<float, Rank>(extents);
}

Tensor<float, 1> vector(Index n) { return zeros<1>({n}); }
Tensor<float, 2> matrix(Index m, Index n) { return zeros<2>({m, n}); }
Tensor<float, 3> cube(Index a, Index b, Index c) { return zeros<3>({a, b, c}); }
Tensor<float, 4> image(Index n, Index h, Index w, Index c) { return zeros<4>({n, h, w, c}); }

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

}  // namespace

TEST_CASE_TEMPLATE("wrong shapes are refused", B, ReferenceBackend, EigenBackend) {
  B backend;
  const auto weights = backend.pack(matrix(5, 6).view());  // 5 outputs, 6 inputs

  SUBCASE("upload and download") {
    auto to = vector(4);
    CHECK(refuses([&] { backend.upload(vector(3).view(), to.view()); }));
    CHECK(refuses([&] { backend.download(vector(5).view(), to.view()); }));
  }
  SUBCASE("gemm") {
    const auto run = [&](const Tensor<float, 2>& in, const Epilogue<2>& epilogue,
                         Tensor<float, 2> out) {
      backend.gemm(in.view(), weights, epilogue, out.view());
    };
    CHECK_NOTHROW(run(matrix(3, 6), {}, matrix(3, 5)));
    CHECK(refuses([&] { run(matrix(3, 7), {}, matrix(3, 5)); }));
    CHECK(refuses([&] { run(matrix(3, 6), {}, matrix(4, 5)); }));
    CHECK(refuses([&] { run(matrix(3, 6), {}, matrix(3, 6)); }));
    const auto bias = vector(6);
    CHECK(refuses([&] { run(matrix(3, 6), {bias.view(), {}}, matrix(3, 5)); }));
    const auto residual = matrix(2, 5);
    CHECK(refuses([&] { run(matrix(3, 6), {{}, residual.view()}, matrix(3, 5)); }));
  }
  SUBCASE("batched_gemm") {
    const auto run = [&](const Tensor<float, 3>& a, const Tensor<float, 3>& b,
                         Tensor<float, 3> out) {
      backend.batched_gemm(a.view(), b.view(), 1.0F, out.view());
    };
    CHECK_NOTHROW(run(cube(2, 3, 4), cube(2, 4, 5), cube(2, 3, 5)));
    CHECK(refuses([&] { run(cube(2, 3, 4), cube(1, 4, 5), cube(2, 3, 5)); }));
    CHECK(refuses([&] { run(cube(2, 3, 4), cube(2, 5, 5), cube(2, 3, 5)); }));
    CHECK(refuses([&] { run(cube(2, 3, 4), cube(2, 4, 5), cube(2, 4, 5)); }));
    CHECK(refuses([&] { run(cube(2, 3, 4), cube(2, 4, 5), cube(2, 3, 4)); }));
    CHECK(refuses([&] { run(cube(2, 3, 4), cube(2, 4, 5), cube(1, 3, 5)); }));
  }
  SUBCASE("conv2d") {
    const auto filters = backend.pack(matrix(5, 18).view());  // 3 x 3 of 2 channels
    const auto run = [&](const Tensor<float, 4>& in, ConvGeometry geometry,
                         const Epilogue<4>& epilogue, Tensor<float, 4> out) {
      backend.conv2d(in.view(), filters, geometry, epilogue, out.view());
    };
    CHECK_NOTHROW(run(image(1, 6, 7, 2), {3, 1, 1}, {}, image(1, 6, 7, 5)));
    CHECK(refuses([&] { run(image(1, 6, 7, 3), {3, 1, 1}, {}, image(1, 6, 7, 5)); }));
    CHECK(refuses([&] { run(image(1, 6, 7, 2), {2, 1, 1}, {}, image(1, 7, 8, 5)); }));
    CHECK(refuses([&] { run(image(1, 6, 7, 2), {3, 1, 0}, {}, image(1, 6, 7, 5)); }));
    CHECK(refuses([&] { run(image(2, 6, 7, 2), {3, 1, 1}, {}, image(1, 6, 7, 5)); }));
    CHECK(refuses([&] { run(image(1, 6, 7, 2), {3, 1, 1}, {}, image(1, 6, 7, 4)); }));
    CHECK_NOTHROW(run(image(0, 6, 7, 2), {3, 1, 1}, {}, image(0, 6, 7, 5)));
    CHECK_NOTHROW(run(image(1, 2, 7, 2), {3, 1, 0}, {}, image(1, 0, 5, 5)));
    const auto bias = vector(2);
    CHECK(refuses([&] {
      run(image(1, 6, 7, 2), {3, 1, 1}, {bias.view(), {}}, image(1, 6, 7, 5));
    }));
    const auto residual = image(1, 6, 6, 5);
    CHECK(refuses([&] {
      run(image(1, 6, 7, 2), {3, 1, 1}, {{}, residual.view()}, image(1, 6, 7, 5));
    }));
  }
  SUBCASE("weights packed for another convolution") {
    if constexpr (PacksConvolutions<B>) {
      const auto filters = backend.pack_conv(matrix(32, 9 * 32).view(), {3, 1, 1});
      const auto run = [&](ConvGeometry geometry, Tensor<float, 4> out) {
        backend.conv2d(image(1, 6, 6, 32).view(), filters, geometry, {}, out.view());
      };
      CHECK_NOTHROW(backend.conv2d(image(0, 6, 6, 32).view(), filters, {3, 1, 1}, {},
                                   image(0, 6, 6, 32).view()));
      CHECK_NOTHROW(backend.conv2d(image(1, 2, 6, 32).view(), filters, {3, 1, 0}, {},
                                   image(1, 0, 4, 32).view()));
      CHECK_NOTHROW(run({3, 1, 1}, image(1, 6, 6, 32)));
      CHECK(refuses([&] { backend.pack_conv(matrix(32, 9 * 32 + 1).view(), {3, 1, 1}); }));
      CHECK(refuses([&] { run({3, 2, 1}, image(1, 3, 3, 32)); }));
      CHECK(refuses([&] { run({3, 1, 1}, image(1, 6, 6, 33)); }));
      CHECK(refuses(
          [&] { backend.gemm(matrix(2, 9 * 32).view(), filters, {}, matrix(2, 32).view()); }));
      CHECK(
          refuses([&] { backend.gemm(matrix(2, 32).view(), filters, {}, matrix(2, 32).view()); }));
    }
  }
  SUBCASE("depthwise_conv2d") {
    const auto run = [&](const Tensor<float, 4>& in, const Tensor<float, 3>& filters,
                         const Epilogue<4>& epilogue, Tensor<float, 4> out) {
      backend.depthwise_conv2d(in.view(), filters.view(), {3, 1, 1}, epilogue, out.view());
    };
    CHECK_NOTHROW(run(image(1, 6, 7, 4), cube(3, 3, 4), {}, image(1, 6, 7, 4)));
    CHECK(refuses([&] { run(image(1, 6, 7, 4), cube(3, 3, 5), {}, image(1, 6, 7, 4)); }));
    CHECK(refuses([&] { run(image(1, 6, 7, 4), cube(3, 2, 4), {}, image(1, 6, 7, 4)); }));
    CHECK(refuses([&] { run(image(1, 6, 7, 4), cube(3, 3, 4), {}, image(1, 6, 6, 4)); }));
    CHECK(refuses([&] { run(image(1, 6, 7, 4), cube(3, 3, 4), {}, image(1, 6, 7, 5)); }));
    const auto bias = vector(5);
    CHECK(refuses([&] {
      run(image(1, 6, 7, 4), cube(3, 3, 4), {bias.view(), {}}, image(1, 6, 7, 4));
    }));
    const auto residual = image(2, 6, 7, 4);
    CHECK(refuses([&] {
      run(image(1, 6, 7, 4), cube(3, 3, 4), {{}, residual.view()}, image(1, 6, 7, 4));
    }));
  }
  SUBCASE("conv_transpose2d") {
    const auto filters = backend.pack(matrix(12, 6).view());  // 2 x 2 of 3 outputs
    const auto run = [&](const Tensor<float, 4>& in, Index kernel, const Tensor<float, 1>& bias,
                         Tensor<float, 4> out) {
      backend.conv_transpose2d(in.view(), filters, kernel, bias.view(), Activation::none,
                               out.view());
    };
    CHECK_NOTHROW(run(image(1, 4, 5, 6), 2, vector(3), image(1, 8, 10, 3)));
    CHECK(refuses([&] { run(image(1, 4, 5, 7), 2, vector(3), image(1, 8, 10, 3)); }));
    CHECK(refuses([&] { run(image(1, 4, 5, 6), 3, vector(3), image(1, 12, 15, 3)); }));
    CHECK(refuses([&] { run(image(1, 4, 5, 6), 2, vector(4), image(1, 8, 10, 3)); }));
    CHECK(refuses([&] { run(image(1, 4, 5, 6), 2, vector(3), image(1, 8, 9, 3)); }));
    CHECK(refuses([&] { run(image(1, 4, 5, 6), 2, vector(3), image(1, 8, 10, 2)); }));
    CHECK(refuses([&] { run(image(2, 4, 5, 6), 2, vector(3), image(1, 8, 10, 3)); }));
  }
  SUBCASE("max_pool2d and mean_pixels") {
    const auto in = image(2, 6, 7, 4);
    const auto pool = [&](ConvGeometry geometry, Tensor<float, 4> out) {
      backend.max_pool2d(in.view(), geometry, out.view());
    };
    const auto mean = [&](Tensor<float, 2> out) { backend.mean_pixels(in.view(), out.view()); };
    CHECK_NOTHROW(pool({3, 2, 1}, image(2, 3, 4, 4)));
    CHECK(refuses([&] { pool({3, 2, 1}, image(2, 3, 3, 4)); }));
    CHECK(refuses([&] { pool({3, 2, 1}, image(2, 3, 4, 5)); }));
    CHECK(refuses([&] { pool({3, 2, 1}, image(1, 3, 4, 4)); }));
    CHECK(refuses([&] { pool({2, 1, 2}, image(2, 9, 10, 4)); }));  // kernels without a pixel
    CHECK_NOTHROW(mean(matrix(2, 4)));
    CHECK(refuses([&] { mean(matrix(2, 5)); }));
    CHECK(refuses([&] { mean(matrix(1, 4)); }));
  }
  SUBCASE("layer_norm") {
    const auto run = [&](const Tensor<float, 2>& in, Index gamma, Index beta,
                         Tensor<float, 2> out) {
      backend.layer_norm(in.view(), vector(gamma).view(), vector(beta).view(), 1e-6F,
                         Activation::none, out.view());
    };
    CHECK_NOTHROW(run(matrix(3, 4), 4, 4, matrix(3, 4)));
    CHECK(refuses([&] { run(matrix(3, 4), 5, 4, matrix(3, 4)); }));
    CHECK(refuses([&] { run(matrix(3, 4), 4, 3, matrix(3, 4)); }));
    CHECK(refuses([&] { run(matrix(3, 4), 4, 4, matrix(2, 4)); }));
    CHECK(refuses([&] { run(matrix(3, 4), 4, 4, matrix(3, 5)); }));
  }
  SUBCASE("add and copy") {
    auto out = image(1, 2, 3, 4);
    const auto same = image(1, 2, 3, 4);
    const auto other = image(1, 2, 3, 1);
    CHECK(refuses([&] { backend.add(other.view(), same.view(), out.view()); }));
    CHECK(refuses([&] { backend.add(same.view(), other.view(), out.view()); }));
    CHECK(refuses([&] { backend.copy(other.view(), out.view()); }));
  }
}

TEST_CASE("wrong shapes are refused: grid_attention of eigen") {
  EigenBackend backend;
  const auto tokens = image(5, 6, 2, 8);
  const auto padding = matrix(2, 8);
  GridAttention attention;
  attention.window = 4;
  attention.padding_key = padding.view();
  attention.padding_value = padding.view();
  const auto run = [&](TensorView<const float, 4> q, TensorView<const float, 4> k,
                       TensorView<const float, 4> v, Tensor<float, 4> out) {
    backend.grid_attention(q, k, v, attention, out.view());
  };
  const auto refuses_attention = [&] {
    return refuses([&] { run(tokens.view(), tokens.view(), tokens.view(), image(5, 6, 2, 8)); });
  };
  REQUIRE_FALSE(refuses_attention());
  const auto wrong = image(5, 6, 2, 7);
  const auto wrong_heads = matrix(3, 8);
  const auto wrong_table = cube(4, 5, 8);
  const auto right_table = cube(4, 4, 8);
  const auto wrong_bias = cube(2, 16, 15);

  SUBCASE("k") {
    CHECK(refuses([&] { run(tokens.view(), wrong.view(), tokens.view(), image(5, 6, 2, 8)); }));
  }
  SUBCASE("v") {
    CHECK(refuses([&] { run(tokens.view(), tokens.view(), wrong.view(), image(5, 6, 2, 8)); }));
  }
  SUBCASE("output") {
    CHECK(refuses([&] { run(tokens.view(), tokens.view(), tokens.view(), image(6, 5, 2, 8)); }));
  }
  SUBCASE("padding key") {
    attention.padding_key = wrong_heads.view();
    CHECK(refuses_attention());
  }
  SUBCASE("padding value") {
    attention.padding_value = {};
    CHECK(refuses_attention());
  }
  SUBCASE("relative position") {
    attention.relative_position = {right_table.view(), wrong_table.view()};
    CHECK(refuses_attention());
    attention.relative_position = {wrong_table.view(), right_table.view()};
    CHECK(refuses_attention());
  }
  SUBCASE("bias") {
    attention.bias = wrong_bias.view();
    CHECK(refuses_attention());
  }
}

TEST_CASE("strides that eigen's kernels do not read are refused, not misread") {
  EigenBackend backend;
  const auto room = vector(64);
  const TensorView<const float, 1> apart(room.data(), {4}, {2});
  const auto rows = matrix(3, 4);
  auto out = matrix(3, 4);
  CHECK(refuses([&] {
    backend.gemm(rows.view(), backend.pack(matrix(4, 4).view()), {apart, {}}, out.view());
  }));
  CHECK(refuses([&] {
    backend.layer_norm(rows.view(), apart, vector(4).view(), 0, Activation::none, out.view());
  }));
  CHECK(refuses([&] {
    backend.layer_norm(rows.view(), vector(4).view(), apart, 0, Activation::none, out.view());
  }));
  auto pixels = image(1, 3, 3, 4);
  CHECK(refuses([&] {
    backend.depthwise_conv2d(image(1, 3, 3, 4).view(), cube(1, 1, 4).view(), {}, {apart, {}},
                             pixels.view());
  }));
  GridAttention attention;
  const auto bias_room = cube(1, 9, 18);
  attention.bias = TensorView<const float, 3>(bias_room.data(), {1, 9, 9}, {162, 18, 2});
  CHECK(refuses([&] {
    const auto tokens = image(3, 3, 1, 4);
    backend.grid_attention(tokens.view(), tokens.view(), tokens.view(), attention,
                           image(3, 3, 1, 4).view());
  }));
}

TEST_CASE("wrong shapes are refused: attention between sets of tokens") {
  EigenBackend backend;
  const auto run = [&](const Extents<4>& q, const Extents<4>& k, const Extents<4>& v,
                       const Extents<4>& out) {
    const Tensor<float, 4> keys(k);
    backend.attention(Tensor<float, 4>(q).view(), keys.view(), Tensor<float, 4>(v).view(), 1.0F,
                      Tensor<float, 4>(out).view());
  };
  CHECK_NOTHROW(run({2, 3, 2, 4}, {2, 5, 2, 4}, {2, 5, 2, 4}, {2, 3, 2, 4}));
  CHECK(refuses([&] { run({2, 3, 2, 4}, {1, 5, 2, 4}, {1, 5, 2, 4}, {2, 3, 2, 4}); }));
  CHECK(refuses([&] { run({2, 3, 2, 4}, {2, 5, 1, 4}, {2, 5, 1, 4}, {2, 3, 2, 4}); }));
  CHECK(refuses([&] { run({2, 3, 2, 4}, {2, 5, 2, 4}, {2, 6, 2, 4}, {2, 3, 2, 4}); }));
  CHECK(refuses([&] { run({2, 3, 2, 4}, {2, 5, 2, 4}, {2, 5, 2, 4}, {2, 5, 2, 4}); }));
  CHECK(refuses([&] { run({2, 3, 2, 4}, {2, 0, 2, 4}, {2, 0, 2, 4}, {2, 3, 2, 4}); }));
}

TEST_CASE("a product over no elements is refused") {
  EigenBackend backend;
  const auto weights = backend.pack(matrix(5, 0).view());
  CHECK(refuses([&] { backend.gemm(matrix(3, 0).view(), weights, {}, matrix(3, 5).view()); }));
}

TEST_CASE("what is not a number is not hidden: attention, bfloat16, every instruction set") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  // A payload of all ones: rounding its bits as those of a number would make it a zero.
  const float nan_of_ones = std::bit_cast<float>(0x7FFFFFFFU);
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    for (const eigen::Isa isa : eigen::distinct_isas(precision)) {
      CAPTURE(to_string(precision));
      CAPTURE(to_string(isa));
      EigenBackend backend({.threads = 1, .instruction_set = isa, .precision = precision});
      for (const float bad : {kNan, nan_of_ones}) {
        auto in = matrix(20, 3);
        in.view()(17, 1) = bad;
        auto out = matrix(20, 40);
        backend.gemm(in.view(), backend.pack(matrix(40, 3).view()), {}, out.view());
        for (Index n = 0; n < 40; ++n) CHECK(std::isnan(out.view()(17, n)));
        CHECK(out.view()(16, 0) == 0.0F);
      }
      for (const float bad : {kNan, nan_of_ones, kInfinity}) {
        const auto attended = [&](Index which) {  // with a bad value in q, k or v
          Tensor<float, 4> parts[3] = {image(1, 5, 1, 6), image(1, 40, 1, 6), image(1, 40, 1, 6)};
          for (Tensor<float, 4>& part : parts) {
            for (float& value : part.elements()) value = 0.5F;
          }
          parts[which].view()(0, 3, 0, 2) = bad;
          auto out = image(1, 5, 1, 6);
          backend.attention(parts[0].view(), parts[1].view(), parts[2].view(), 1.0F, out.view());
          return out;
        };
        const auto by_query = attended(0);
        CHECK(std::isnan(by_query.view()(0, 3, 0, 0)));
        CHECK(by_query.view()(0, 2, 0, 0) == doctest::Approx(0.5));
        CHECK(std::isnan(attended(1).view()(0, 4, 0, 5)));
        const auto by_value = attended(2);
        CHECK_FALSE(std::isfinite(by_value.view()(0, 0, 0, 2)));
        CHECK(by_value.view()(0, 0, 0, 1) == doctest::Approx(0.5));
      }
      // Minus infinity everywhere leaves nothing to weigh.
      auto query = image(1, 1, 1, 2);
      query.view()(0, 0, 0, 0) = -kInfinity;
      auto keys = image(1, 3, 1, 2);
      for (float& value : keys.elements()) value = 1;
      auto out = image(1, 1, 1, 2);
      backend.attention(query.view(), keys.view(), keys.view(), 1.0F, out.view());
      CHECK(std::isnan(out.view()(0, 0, 0, 1)));
    }
  }
}

TEST_CASE_TEMPLATE("what is not a number is not hidden", B, ReferenceBackend, EigenBackend) {
  B backend;
  SUBCASE("relu and gelu") {
    auto in = matrix(20, 3);
    in.view()(17, 1) = kNan;
    const auto weights = backend.pack(matrix(40, 3).view());
    for (const Activation activation : {Activation::relu, Activation::gelu}) {
      auto out = matrix(20, 40);
      backend.gemm(in.view(), weights, {{}, {}, activation}, out.view());
      for (Index n = 0; n < 40; ++n) CHECK(std::isnan(out.view()(17, n)));
      CHECK(out.view()(16, 0) == 0.0F);
    }
  }
  SUBCASE("softmax") {
    for (const float bad : {kNan, std::numeric_limits<float>::infinity()}) {
      auto rows = matrix(2, 37);
      rows.view()(1, 33) = bad;
      backend.softmax(rows.view());
      CHECK(std::isnan(rows.view()(1, 33)));
      CHECK(rows.view()(0, 0) == doctest::Approx(1.0 / 37));
    }
  }
  SUBCASE("layer_norm") {
    auto rows = matrix(2, 37);
    rows.view()(1, 5) = kNan;
    auto gamma = vector(37);
    for (float& value : gamma.elements()) value = 1;
    backend.layer_norm(rows.view(), gamma.view(), vector(37).view(), 1e-6F, Activation::relu,
                       rows.view());
    for (Index c = 0; c < 37; ++c) CHECK(std::isnan(rows.view()(1, c)));
    CHECK(rows.view()(0, 0) == 0.0F);
  }
}

TEST_CASE("what is not a number is not hidden: 3x3 convolutions, every instruction set") {
  constexpr Index kChannels = 32;  // wide enough for Winograd's way
  constexpr Index kSide = 9;
  auto weights = matrix(kChannels, 9 * kChannels);
  for (float& value : weights.elements()) value = 0.25F;
  const auto check = [&](eigen::Isa isa, Precision precision) {
    CAPTURE(to_string(isa));
    CAPTURE(to_string(precision));
    EigenBackend backend({.threads = 1, .instruction_set = isa, .precision = precision});
    const auto packed = backend.pack_conv(std::as_const(weights).view(), {3, 1, 1});
    CHECK(packed.planes() == eigen::kWinogradPlanes);
    for (const float bad : {kNan, std::numeric_limits<float>::infinity()}) {
      for (const Extents<2>& at : {Extents<2>{4, 4}, Extents<2>{3, 6}, Extents<2>{0, 8}}) {
        auto in = image(1, kSide, kSide, kChannels);
        in.view()(0, at[0], at[1], 5) = bad;
        auto out = image(1, kSide, kSide, kChannels);
        backend.conv2d(std::as_const(in).view(), packed, {3, 1, 1}, {}, out.view());
        for (Index y = 0; y < kSide; ++y) {
          for (Index x = 0; x < kSide; ++x) {
            const bool near = std::abs(y - at[0]) <= 1 && std::abs(x - at[1]) <= 1;
            CHECK(std::isfinite(out.view()(0, y, x, 7)) != near);
          }
        }
      }
    }
  };
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    for (const eigen::Isa isa : eigen::distinct_isas(precision)) check(isa, precision);
  }
}

TEST_CASE("3x3 convolutions at bf16 are exact where no factor needs rounding, every set") {
  constexpr Index kChannels = 71;  // the last word is half full
  const ConvGeometry geometry{3, 1, 1};
  auto in = image(2, 5, 6, kChannels);
  for (Index i = 0; i < in.size(); ++i) in.data()[i] = static_cast<float>(i * 37 % 31 - 15);
  auto weights = matrix(33, 9 * kChannels);
  // Sums of four pixels and of nine weights, halved twice, have eight significant bits.
  for (Index i = 0; i < weights.size(); ++i) {
    weights.data()[i] = static_cast<float>(i * 41 % 13 - 6);
  }
  ReferenceBackend reference;
  auto expected = image(2, 5, 6, 33);
  reference.conv2d(std::as_const(in).view(), reference.pack(std::as_const(weights).view()),
                   geometry, {}, expected.view());
  for (const eigen::Isa isa : eigen::distinct_isas(Precision::bf16)) {
    CAPTURE(to_string(isa));
    EigenBackend backend({.threads = 1, .instruction_set = isa, .precision = Precision::bf16});
    const auto packed = backend.pack_conv(std::as_const(weights).view(), geometry);
    CHECK(packed.planes() == eigen::kWinogradPlanes);
    auto out = image(2, 5, 6, 33);
    backend.conv2d(std::as_const(in).view(), packed, geometry, {}, out.view());
    CHECK(std::equal(out.elements().begin(), out.elements().end(), expected.elements().begin()));
  }
}
