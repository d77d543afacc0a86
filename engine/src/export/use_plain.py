import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = "{{base}}"
tokenizer = AutoTokenizer.from_pretrained(base)
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
model = PeftModel.from_pretrained(model, ".").eval()  # the folder this README is in

inputs = tokenizer("Once upon a time", return_tensors="pt")
answer = model.generate(**inputs, max_new_tokens=100, do_sample=False)
print(tokenizer.decode(answer[0], skip_special_tokens=True))
