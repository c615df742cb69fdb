#include "promiseg/train/parameters.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <vector>

using namespace promiseg;
using train::Parameter;
using train::Parameters;
using train::Role;

namespace {

/// Tensors that count up from 1, of whatever shape is asked for.
class Counting : public nn::WeightSource {
 public:
  std::map<std::string, int> asked;  ///< how often for each

 private:
  const float* find(const std::string& name, std::span<const Index> shape) override {
    ++asked[name];
    std::vector<float>& values = tensors_[name];
    Index count = 1;
    for (const Index extent : shape) count *= extent;
    if (values.empty()) {
      for (Index i = 1; i <= count; ++i) values.push_back(static_cast<float>(i));
    }
    return values.data();
  }

  std::map<std::string, std::vector<float>> tensors_;
};

Role role_of(const std::string& name) {
  if (name.starts_with("frozen")) return Role::frozen;
  return name.find(".running_") != std::string::npos ? Role::statistics : Role::trained;
}

/// Evaluates to true if the statement throws `Error` with this code.
template <class Statement>
bool throws(ErrorCode code, const Statement& statement) {
  try {
    statement();
  } catch (const Error& error) {
    return error.code() == code;
  }
  return false;
}

}  // namespace

TEST_CASE("parameters: what trains is copied once, what is frozen stays with its source") {
  Counting source;
  Parameters parameters(source, role_of);
  const auto frozen = parameters.get("frozen.weight", Extents<2>{2, 3});
  CHECK(frozen.data() == source.get("frozen.weight", Extents<2>{2, 3}).data());
  CHECK(parameters.all().empty());

  const auto weight = parameters.get("a.weight", Extents<2>{2, 3});
  CHECK(weight.data() != source.get("a.weight", Extents<2>{2, 3}).data());
  CHECK(weight.extents() == Extents<2>{2, 3});
  CHECK(weight(1, 2) == 6.0F);
  CHECK(parameters.all().size() == 1);
  const Parameter& parameter = parameters.at("a.weight");
  CHECK(parameter.value.data() == weight.data());
  CHECK(parameter.shape == std::vector<Index>{2, 3});
  CHECK(parameter.role == Role::trained);
  CHECK(parameter.gradient.size() == 6);
  CHECK(std::count(parameter.gradient.begin(), parameter.gradient.end(), 0.0F) == 6);

  const int asked = source.asked["a.weight"];
  CHECK(parameters.get("a.weight", Extents<2>{2, 3}).data() == weight.data());
  CHECK(source.asked["a.weight"] == asked);
}

TEST_CASE("parameters: tensors of every rank") {
  Counting source;
  Parameters parameters(source, role_of);
  CHECK(parameters.get("1", Extents<1>{5})(4) == 5.0F);
  CHECK(parameters.get("2", Extents<2>{2, 4})(1, 3) == 8.0F);
  CHECK(parameters.get("3", Extents<3>{2, 3, 4})(1, 2, 3) == 24.0F);
  CHECK(parameters.get("4", Extents<4>{2, 3, 2, 2})(1, 2, 1, 1) == 24.0F);
  CHECK(parameters.at("4").shape == std::vector<Index>{2, 3, 2, 2});
}

TEST_CASE("parameters: wrong shapes and unknown names are refused") {
  Counting source;
  Parameters parameters(source, role_of);
  parameters.get("a", Extents<2>{2, 3});
  parameters.get("frozen.b", Extents<1>{2});
  CHECK(throws(ErrorCode::shape_mismatch, [&] { parameters.get("a", Extents<2>{3, 2}); }));
  CHECK(throws(ErrorCode::shape_mismatch, [&] { parameters.get("a", Extents<1>{6}); }));
  CHECK(throws(ErrorCode::not_found, [&] { parameters.at("b"); }));
  CHECK(throws(ErrorCode::not_found, [&] { parameters.at("frozen.b"); }));
}

TEST_CASE("parameters: an address leads to its parameter") {
  Counting source;
  Parameters parameters(source, role_of);
  std::vector<TensorView<const float, 1>> views;
  for (const char* name : {"c", "a", "b", "x.running_mean"}) {
    views.push_back(parameters.get(name, Extents<1>{40}));
    CHECK(parameters.containing(views.back().data()) == &parameters.at(name));
    CHECK(parameters.containing(views.back().data() + 39) == &parameters.at(name));
  }
  for (const auto& view : views) {
    const float* end = view.data() + 40;
    const bool another = std::any_of(views.begin(), views.end(),
                                     [&](const auto& next) { return next.data() == end; });
    CHECK((parameters.containing(end) != nullptr) == another);
  }
  CHECK(parameters.containing(parameters.get("frozen", Extents<1>{40}).data()) == nullptr);
  CHECK(parameters.containing(nullptr) == nullptr);
}

TEST_CASE("parameters: the gradient of a view lies at the same place") {
  Counting source;
  Parameters parameters(source, role_of);
  const auto weight = parameters.get("a", Extents<3>{2, 3, 4});
  Parameter& parameter = parameters.at("a");
  CHECK_FALSE(parameter.used);  // asked for, but by no layer that trains
  const TensorView<const float, 3> view = weight.permuted({2, 0, 1}).slice(0, 1, 2);
  const TensorView<float, 3> gradient = parameters.gradient(view);
  CHECK(parameter.used);
  CHECK(gradient.extents() == Extents<3>{2, 2, 3});
  gradient(1, 1, 2) = 5;  // weight (1, 2, 2)
  CHECK(parameter.gradient[12 + 8 + 2] == 5.0F);

  const auto other = parameters.get("b", Extents<1>{4});
  parameters.gradient(other)(3) = 6;
  CHECK(parameters.at("b").gradient[3] == 6.0F);
  parameters.clear_gradients();
  CHECK(parameter.gradient[12 + 8 + 2] == 0.0F);
  CHECK(parameters.at("b").gradient[3] == 0.0F);
  CHECK(parameter.used);
}

TEST_CASE("parameters: statistics are copied, and have no gradient") {
  Counting source;
  Parameters parameters(source, role_of);
  const auto mean = parameters.get("norm.running_mean", Extents<1>{4});
  CHECK(mean.data() != source.get("norm.running_mean", Extents<1>{4}).data());
  CHECK(parameters.gradient(mean).data() == nullptr);
  CHECK_FALSE(parameters.at("norm.running_mean").used);
  CHECK(parameters.at("norm.running_mean").gradient.empty());
  parameters.at("norm.running_mean").value[2] = 9;
  CHECK(parameters.get("norm.running_mean", Extents<1>{4})(2) == 9.0F);

  const auto frozen = parameters.get("frozen", Extents<1>{4});
  CHECK(parameters.gradient(frozen).data() == nullptr);
}
