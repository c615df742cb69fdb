// Adam by hand, and the learning rate over time.
#include "promiseg/train/optimiser.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

using namespace promiseg;
using train::Adam;
using train::OptimiserConfig;
using train::Parameters;
using train::Schedule;

namespace {

/// Every tensor begins 1, -2.
class Start : public nn::WeightSource {
 private:
  const float* find(const std::string& /*name*/, std::span<const Index> shape) override {
    require(shape.size() == 1 && shape[0] == 2, ErrorCode::shape_mismatch, "two numbers");
    return values_.data();
  }

  std::array<float, 2> values_{1, -2};
};

using Pair = std::array<double, 2>;

/// One weight of two numbers, and one that no layer reads.
struct Fixture {
  Start source;
  Parameters parameters{source, [](const std::string&) { return train::Role::trained; }};

  Fixture() {
    parameters.gradient(parameters.get("weight", Extents<1>{2}));  // a layer reads it
    parameters.get("unused", Extents<1>{2});
  }

  void set_gradient(const std::string& name, const Pair& gradient) {
    for (std::size_t i = 0; i < 2; ++i) {
      parameters.at(name).gradient[i] = static_cast<float>(gradient[i]);
    }
  }

  void check_value(const std::string& name, const Pair& expected) {
    for (std::size_t i = 0; i < 2; ++i) {
      CAPTURE(i);
      CHECK(std::abs(double{parameters.at(name).value[i]} - expected[i]) < 1e-6);
    }
  }

  /// Steps with these gradients; after each, the values.
  void check_steps(Adam& adam, const std::array<Pair, 3>& gradients,
                   const std::array<Pair, 3>& values) {
    for (std::size_t step = 0; step < 3; ++step) {
      CAPTURE(step);
      set_gradient("weight", gradients[step]);
      set_gradient("unused", gradients[step]);
      adam.step(parameters, 0.1);
      check_value("weight", values[step]);
      check_value("unused", {1, -2});
    }
  }
};

constexpr std::array<Pair, 3> kGradients = {Pair{0.5, -1}, Pair{0.25, 3}, Pair{-1.5, 0}};

/// Expected values were computed in double from the papers' formulas.
constexpr std::array<Pair, 3> kAdamValues = {
    Pair{0.900000002, -1.900000001}, Pair{0.80678204, -1.94941898}, Pair{0.84150439, -1.98762}};

}  // namespace

TEST_CASE("Adam: three steps") {
  Fixture fixture;
  Adam adam{OptimiserConfig{}};
  fixture.check_steps(adam, kGradients, kAdamValues);
  CHECK(adam.moments().at("weight").steps == 3);
  const Adam::Moments& moments = adam.moments().at("weight");
  CHECK(std::abs(double{moments.mean[0]} + 0.087) < 1e-7);
  CHECK(std::abs(double{moments.mean[1]} - 0.189) < 1e-7);
  CHECK(std::abs(double{moments.square[0]} - 0.00256193775) < 1e-8);
  CHECK(std::abs(double{moments.square[1]} - 0.009989001) < 1e-8);
  CHECK(adam.moments().count("unused") == 0);
}

TEST_CASE("Adam: decoupled weight decay") {
  Fixture fixture;
  OptimiserConfig config;
  config.weight_decay = 0.5;
  Adam adam(config);
  fixture.check_steps(adam, kGradients,
                      {Pair{0.850000002, -1.800000001}, Pair{0.71428204, -1.75941898},
                       Pair{0.71329029, -1.70964905}});
}

TEST_CASE("Adam: gradients above the largest norm are scaled down to it, others are not") {
  Fixture fixture;
  OptimiserConfig config;
  config.clip_norm = 1;
  Adam adam(config);
  fixture.check_steps(adam, {Pair{3, -4}, Pair{0.3, 0.4}, Pair{-30, 40}},
                      {Pair{0.900000002, -1.900000001}, Pair{0.80678204, -1.87336631},
                       Pair{0.79570373, -1.90063599}});
  CHECK(std::abs(double{adam.moments().at("weight").mean[0]} - 0.0156) < 1e-7);
  CHECK(std::abs(double{adam.moments().at("weight").mean[1]} - 0.0512) < 1e-7);
}

TEST_CASE("Adam: an optimiser goes on where another one was") {
  Fixture whole;
  Fixture parted;
  Adam one{OptimiserConfig{}};
  Adam first{OptimiserConfig{}};
  Adam second{OptimiserConfig{}};
  const auto step = [](Fixture& fixture, Adam& adam, std::size_t i) {
    fixture.set_gradient("weight", kGradients[i]);
    adam.step(fixture.parameters, 0.1);
  };
  for (std::size_t i = 0; i < 3; ++i) step(whole, one, i);
  step(parted, first, 0);
  step(parted, first, 1);
  second.restore(first.moments());
  step(parted, second, 2);
  CHECK(second.moments().at("weight").steps == 3);
  CHECK(parted.parameters.at("weight").value == whole.parameters.at("weight").value);
  CHECK(second.moments().at("weight").square == one.moments().at("weight").square);
}

TEST_CASE("Adam: a weight is left alone until its first gradient, and moves on without one") {
  Fixture fixture;
  OptimiserConfig config;
  config.weight_decay = 0.5;
  Adam adam(config);
  for (int step = 0; step < 2; ++step) {
    fixture.set_gradient("weight", {0, 0});
    adam.step(fixture.parameters, 0.1);
    fixture.check_value("weight", {1, -2});  // nor does it decay
    CHECK(adam.moments().empty());
  }
  // As if they were the first steps: its corrections count from where its means begin.
  fixture.set_gradient("weight", kGradients[0]);
  adam.step(fixture.parameters, 0.1);
  fixture.check_value("weight", {0.850000002, -1.800000001});
  fixture.set_gradient("weight", {0, 0});
  adam.step(fixture.parameters, 0.1);
  fixture.check_value("weight", {0.740494178, -1.642994176});
}

TEST_CASE("gradient norm: of all that layers read, and of nothing else") {
  Fixture fixture;
  fixture.set_gradient("unused", {100, 100});
  fixture.set_gradient("weight", {3, -4});
  CHECK(train::gradient_norm(fixture.parameters) == doctest::Approx(5));
  fixture.parameters.gradient(fixture.parameters.get("another", Extents<1>{2}));
  fixture.set_gradient("another", {12, 0});
  CHECK(train::gradient_norm(fixture.parameters) == doctest::Approx(13));
}

TEST_CASE("learning rate: constant, cosine, and warming up") {
  OptimiserConfig config;
  config.rate = 0.2;
  const auto check = [&](const std::vector<double>& expected) {
    for (std::size_t step = 0; step < expected.size(); ++step) {
      CAPTURE(step);
      CHECK(std::abs(train::learning_rate(config, static_cast<Index>(step), 8) - expected[step]) <
            1e-12);
    }
  };
  SUBCASE("constant") {
    config.schedule = Schedule::constant;
    check({0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2});
  }
  SUBCASE("constant, after four steps") {
    config.schedule = Schedule::constant;
    config.warmup_steps = 4;
    check({0.05, 0.1, 0.15, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2});
  }
  SUBCASE("cosine: to zero, and not up again") {
    check({0.2, 0.192387953251128688, 0.170710678118654752, 0.138268343236508977, 0.1,
           0.061731656763491023, 0.029289321881345248, 0.007612046748871312, 0, 0, 0});
  }
  SUBCASE("cosine, after four steps") {
    config.warmup_steps = 4;
    check({0.05, 0.096193976625564344, 0.128033008588991064, 0.138268343236508977, 0.1,
           0.061731656763491023, 0.029289321881345248, 0.007612046748871312, 0});
  }
  SUBCASE("a run of no steps has no end to fall to") {
    CHECK(train::learning_rate(config, 5, 0) == 0.2);
  }
}
