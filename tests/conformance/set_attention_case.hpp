// Attention between two sets of tokens. A backend without one of its own gets the composition of
// nn/attention.hpp, so the reference does.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "operation.hpp"
#include "prepared_case.hpp"
#include "promiseg/nn/attention.hpp"

namespace promiseg::conformance {

struct SetAttentionCase {
  static constexpr Operation kOperation = Operation::attention;

  Index batch = 1;
  Index queries = 1;
  Index keys = 1;
  Index heads = 1;
  Index depth = 1;
  Form<4> form = {};  ///< of queries, keys, values and output
  std::string form_name = {};
  bool shared_keys = false;  ///< keys and values of all items are the same memory
  double sharpness = 1;      ///< multiplies the queries
  std::string label = {};
  bool heavy = false;

  std::string name() const {
    return (label.empty() ? "" : label + "/") + "b" + std::to_string(batch) + "_n" +
           std::to_string(queries) + "_m" + std::to_string(keys) + "_h" + std::to_string(heads) +
           "_d" + std::to_string(depth) + form_name + (shared_keys ? "_shared" : "") +
           (sharpness != 1 ? "_sharp" + std::to_string(static_cast<Index>(sharpness)) : "");
  }

  Work work() const {
    const auto items = static_cast<double>(batch * heads);
    const auto pairs = items * static_cast<double>(queries * keys);
    const auto channels = static_cast<double>(depth);
    return {4 * pairs * channels + 5 * pairs,
            4 * items * channels * static_cast<double>(2 * queries + 2 * keys)};
  }
};

template <Backend B>
PreparedCase prepare(B& backend, const SetAttentionCase& shape, Position position) {
  struct Operands {
    nn::Workspace<B> workspace;
    DeviceArray<4> q;
    DeviceArray<4> k;
    DeviceArray<4> v;
    Destination<4> out;
  };
  const Extents<4> queries{shape.batch, shape.queries, shape.heads, shape.depth};
  const Extents<4> keys{shape.batch, shape.keys, shape.heads, shape.depth};
  Form<4> key_form = shape.form;
  key_form.broadcast[0] = shape.shared_keys;
  auto operands = std::make_shared<Operands>(
      Operands{nn::Workspace<B>(backend),
               make_input(backend, queries, shape.form, Values{1, 1.5 * shape.sharpness}, position),
               make_input(backend, keys, key_form, Values{2, 1.5}, position),
               make_input(backend, keys, key_form, Values{3, 1.5}, position),
               Destination<4>(backend, HostArray<4>::output(queries, shape.form, position))});
  return make_prepared(backend, operands, [](Operands& o) {
    nn::attention<B>(o.workspace, o.q.view(), o.k.view(), o.v.view(), o.out.view());
  });
}

inline std::vector<SetAttentionCase> set_attention_cases() {
  std::vector<SetAttentionCase> cases = {
      {},
      {.queries = 5, .keys = 3, .heads = 2, .depth = 4},
      {.batch = 3, .queries = 7, .keys = 7, .heads = 8, .depth = 32},
      {.queries = 9, .keys = 31, .heads = 2, .depth = 7},
      // Around parts of the keys (384) and of the queries (48, and 192 of a thread's turn).
      {.queries = 4, .keys = 383, .heads = 2, .depth = 16},
      {.queries = 4, .keys = 384, .heads = 2, .depth = 16},
      {.queries = 4, .keys = 385, .heads = 2, .depth = 16},
      {.queries = 3, .keys = 1155, .heads = 1, .depth = 16},
      {.queries = 47, .keys = 9, .heads = 1, .depth = 16},
      {.queries = 49, .keys = 10, .heads = 1, .depth = 16},
      {.queries = 500, .keys = 23, .heads = 2, .depth = 16},
      {.queries = 50, .keys = 9, .heads = 1, .depth = 801},
      // The largest score comes late, and one key takes all.
      {.queries = 6, .keys = 900, .heads = 2, .depth = 16, .sharpness = 20},
      {.batch = 3, .queries = 5, .keys = 40, .heads = 2, .depth = 16, .shared_keys = true},
      {.batch = 2,
       .queries = 5,
       .keys = 40,
       .heads = 2,
       .depth = 11,
       .form = {.order = {0, 2, 1, 3}, .gaps = {0, 0, 0, 3}},
       .form_name = "_headsfirst"},
      {.batch = 2,
       .queries = 5,
       .keys = 40,
       .heads = 2,
       .depth = 11,
       .form = {.order = {0, 1, 3, 2}},
       .form_name = "_dh"},
  };
  const auto heavy = [&](const char* label, Index queries, Index keys) {
    cases.push_back(
        {.queries = queries, .keys = keys, .heads = 8, .depth = 16, .label = label, .heavy = true});
  };
  heavy("decoder_tokens_to_image", 22, 4096);
  heavy("decoder_image_to_tokens", 4096, 22);
  return cases;
}

}  // namespace promiseg::conformance
